"""What a server loads before it forks, and whether that is still what the files say."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ..plan.imports import import_closure

Stamp = tuple[int, int, int]
CLOSING = "\nrun_job(main, globals())\n"  # of every script of a job
# Those of others: torch loads the second and third by itself, at a first gradient, for 2 s.
PACKAGES = (
    *("torch", "torch.fx.experimental.symbolic_shapes", "torch._dynamo", "torch.func"),
    *("scipy.stats", "scipy.linalg", "scipy.sparse.linalg"),
    *("matplotlib.pyplot", "matplotlib.backends.backend_svg", "matplotlib.backends.backend_agg"),
    *("PIL.Image", "PIL.JpegImagePlugin", "jinja2", "numba"),
)


def stamps(folder: Path) -> dict[str, Stamp | None]:
    """Every Python file below a folder: its size, and when it and its entry were changed.

    The last one cannot be set back, as a time of modification can.
    """
    return {str(path): _stamp(str(path)) for path in folder.rglob("*.py")}


def _stamp(file: str) -> Stamp | None:
    """None if there is no such file (any more)."""
    try:
        state = os.stat(file)
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns


def changed(before: dict[str, Stamp | None]) -> str | None:
    """A loaded file that is no longer as it was, None if there is none.

    Args:
        before: stamps, read before anything of the folder was loaded.
    """
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file in before and ((now := _stamp(file)) is None or now != before[file]):
            return file
    return None


def load(scripts: Path) -> Iterator[str]:
    """Import what jobs' scripts import, what is light first; the name of each module after it.

    What cannot be imported is left to the jobs that need it: they say so. So are scripts that
    import from the project's folder: jobs look there last, this process not at all, since it has no
    stamps of those files.

    Args:
        scripts: folder of the scripts.
    """
    everything = sorted(scripts.glob("*.py"))
    jobs = [each for each in everything if each.read_text(encoding="utf-8").endswith(CLOSING)]
    closures = sorted((import_closure(script) for script in jobs), key=len)
    own = [
        _module(file, scripts)
        for closure in closures
        if _within(closure, scripts)
        for file in closure
    ]
    for name in dict.fromkeys([*own, *PACKAGES]):
        if scripts / f"{name}.py" in jobs:
            continue
        try:
            importlib.import_module(name)
        except (Exception, SystemExit):
            continue
        yield name


def _within(files: list[str], folder: Path) -> bool:
    return all(Path(file).is_relative_to(folder) for file in files)


def _module(file: str, scripts: Path) -> str:
    parts = Path(file).relative_to(scripts).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
