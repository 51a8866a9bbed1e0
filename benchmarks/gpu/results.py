"""One JSON file for a card: what the machine is, and the record of every part."""

import hashlib
import importlib.metadata
import json
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path

import torch

from .parts import Setting

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "gpu"
PACKAGES = ("numpy", "scipy", "jax", "jaxtyping", "numba")


def machine(setting: Setting) -> dict:
    """Card, driver and versions: results of different ones go to different files."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    versions |= {name: _version(name) for name in PACKAGES}
    here = {"device": setting.device, "smoke": setting.smoke, "versions": versions}
    if setting.place.type != "cuda":
        return here | {"card": platform.processor() or platform.machine(), "driver": ""}
    card = torch.cuda.get_device_properties(setting.place)
    versions["cuda"] = torch.version.cuda
    memory = round(card.total_memory / 2**30)
    return here | {"card": f"{card.name}, {memory} GiB", "driver": _driver()}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _driver() -> str:
    """Version of the driver, as nvidia-smi prints it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    if not shutil.which(command[0]):
        return "unknown"
    printed = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    return printed.split("\n")[0].strip() or "unknown"


def code() -> str:
    """Digest of the library and of these checks, for each record: results of older code show."""
    digest = hashlib.sha256()
    for folder in (ROOT / "scripts" / "ntkflow", ROOT / "benchmarks" / "gpu"):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def newest(folder: Path, **wanted: object) -> dict | None:
    """The latest results in a folder that agree with what is wanted, with their path."""
    found = [json.loads(path.read_text()) | {"path": path} for path in folder.glob("*.json")]
    matching = [each for each in found if all(each[key] == wanted[key] for key in wanted)]
    return max(matching, key=lambda each: each["started"], default=None)


def begin(folder: Path, here: dict) -> dict:
    """Empty results, to be filled part by part."""
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    name = re.sub(r"[^a-z0-9]+", "-", f"{started} {here['card']}".lower()).strip("-")
    return here | {"started": started, "parts": {}, "path": folder / f"{name}.json"}


def save(results: dict) -> None:
    """Write the file, or leave the old one as it is."""
    path = results["path"]
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    content = {key: value for key, value in results.items() if key != "path"}
    draft.write_text(json.dumps(content, indent=1) + "\n")
    draft.replace(path)
