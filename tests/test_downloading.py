import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import download_mnist
from ntkflow.errors import DownloadError
from ntkstudy.data.downloading import download

CONTENT = bytes(range(256)) * 40
PACKED = gzip.compress(CONTENT, mtime=0)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Mirror(BaseHTTPRequestHandler):
    """`/good` serves, `/breaks` closes half-way, `/other` has other bytes, `/old` has no ranges."""

    asked: list[tuple[str, str | None]]

    def do_GET(self):
        folder, wanted = self.path.split("/")[1], self.headers["Range"]
        self.asked.append((folder, wanted))
        if folder in ("missing", "busy"):
            self.send_error({"missing": 404, "busy": 503}[folder])
            return
        body = gzip.compress(b"another file") if folder == "other" else PACKED
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start and start >= len(body):
            self.send_error(416)
            return
        if folder == "old":
            start = 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = start + 20 if folder == "breaks" else len(body)
        self.wfile.write(body[start:end])

    def log_message(self, format, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Mirror.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def get(server, folder, mirrors, **options):
    target = folder / "images.gz"
    addresses = [f"{server}/{mirror}" for mirror in mirrors]
    download(target, addresses, **{"sha256": SHA256, "wait": 0.0} | options)
    return target


@pytest.mark.parametrize(
    ("mirrors", "asked"),
    [
        (["good"], ["good"]),
        (["missing", "good"], ["missing", "good"]),
        (["busy", "good/"], ["busy", "busy", "busy", "good"]),
        (["other", "good"], ["other", "good"]),
    ],
)
def test_the_first_good_mirror_gives_the_file(server, tmp_path, mirrors, asked):
    target = get(server, tmp_path, mirrors)
    assert target.read_bytes() == PACKED
    assert list(tmp_path.iterdir()) == [target]
    assert [folder for folder, _ in Mirror.asked] == asked


def test_a_broken_connection_is_resumed(server, tmp_path):
    get(server, tmp_path, ["breaks"], attempts=100)
    ranges = [wanted for _, wanted in Mirror.asked]
    assert ranges[:3] == [None, "bytes=20-", "bytes=40-"]


def test_another_run_resumes(server, tmp_path):
    with pytest.raises(DownloadError, match="the connection closed after 20 of"):
        get(server, tmp_path, ["breaks"], attempts=1)
    assert not (tmp_path / "images.gz").exists()
    get(server, tmp_path, ["good"])
    assert Mirror.asked[-1] == ("good", "bytes=20-")


@pytest.mark.parametrize("mirror", ["good", "old"])
def test_what_does_not_fit_is_fetched_from_the_start(server, tmp_path, mirror):
    (tmp_path / ".images.gz.part").write_bytes(b"something else")
    assert get(server, tmp_path, [mirror]).read_bytes() == PACKED


def test_a_complete_part_is_only_checked(server, tmp_path):
    (tmp_path / ".images.gz.part").write_bytes(PACKED)
    assert get(server, tmp_path, ["good"]).read_bytes() == PACKED
    assert len(Mirror.asked) == 1


def test_without_a_good_mirror_nothing_is_written(server, tmp_path):
    with pytest.raises(DownloadError) as error:
        get(server, tmp_path, ["missing", "other"], attempts=1)
    text = str(error.value)
    assert text.startswith("images.gz: no mirror gave it (http://127.0.0.1:")
    assert "404" in text
    assert "SHA-256" in text
    assert text.endswith("put the file into a folder and set task.source: directory")
    assert list(tmp_path.iterdir()) == []


def test_nobody_answers(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DownloadError, match="Connection refused"):
        get("http://127.0.0.1:1", tmp_path, ["good"], attempts=2)


def test_the_rule_takes_checksums_from_a_list(server, tmp_path):
    (tmp_path / "sums").write_text(f"{SHA256}  train-images-idx3-ubyte\n")
    file = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    cfg = {"mirrors": [f"{server}/good"]}
    download_mnist.main({"checksums": tmp_path / "sums"}, {"file": str(file)}, cfg)
    assert file.read_bytes() == PACKED
