"""A headless Chromium, spoken to over the WebDriver protocol."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 330.0  # seconds: longer than a script or a page may take


class Browser:
    """One window of a running browser."""

    def __init__(self, port: int, profile: Path):
        self._root = f"http://127.0.0.1:{port}"
        options = {
            "binary": shutil.which("chromium"),
            "args": [*ARGUMENTS, f"--user-data-dir={profile}"],
        }
        capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self._post("/session", capabilities={"alwaysMatch": capabilities})
        self._root += f"/session/{session['sessionId']}"
        self._post("/timeouts", script=300_000, pageLoad=300_000)  # a busy machine is no failure

    def _post(self, path: str, **body):
        request = urllib.request.Request(self._root + path, data=json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from error

    def open(self, address: str) -> None:
        """Load an address afresh, even where only its fragment differs from the last one."""
        self._post("/url", url="about:blank")
        self._post("/url", url=address)

    def run(self, script: str):
        """Return what the body of a JavaScript function returns."""
        return self._post("/execute/sync", script=script, args=[])

    def command(self, name: str, **parameters):
        """Send a command of the DevTools protocol."""
        return self._post("/goog/cdp/execute", cmd=name, params=parameters)

    def set_screen(self, width: int, scheme: str = "light") -> None:
        """Take a screen width in CSS pixels and a preferred colour scheme."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        self.command("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", features=features)

    def press(self, key: str) -> None:
        """Press and release a key on the element that has the focus."""
        keys = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self._post("/actions", actions=[{"type": "key", "id": "keyboard", "actions": keys}])

    def read_log(self) -> list[str]:
        """Return the messages of the console, errors of scripts included."""
        return [entry["message"] for entry in self._post("/se/log", type="browser")]


@contextmanager
def start_browser(folder: Path) -> Iterator[Browser]:
    """Run a browser with a fresh profile; end all that it started, also if it hangs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "driver.log").open("wb") as log:
        call = ["chromedriver", f"--port={port}"]
        driver = subprocess.Popen(call, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for(port)
        yield Browser(port, folder / "profile")
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()


def _wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise TimeoutError("chromedriver does not answer")
