"""Where results may lie: below results/, whoever wrote the configuration, and writable."""

import os
from collections.abc import Iterable
from pathlib import Path

from ntkflow.errors import ConfigurationError


def check_confined(results: str, experiments: Iterable[str]) -> None:
    """Refuse folders that lead out of results/ by symbolic links.

    Names alone cannot: their patterns in the schema allow neither `..` nor a path from the root.
    The folder results/ itself may be a link, as to a larger disk.

    Args:
        results: folder of everything that a run produces, results/ or one below it.
        experiments: names, which are folders in it.

    Raises:
        ConfigurationError: naming the folder and where it leads.
    """
    allowed = Path(Path(results).parts[0]).resolve()
    for folder in (Path(results), *(Path(results, name) for name in experiments)):
        if not folder.resolve().is_relative_to(allowed):
            raise ConfigurationError(
                f"results: {str(folder)!r} leads to {str(folder.resolve())!r}; allowed: "
                f"a folder in {str(allowed)!r}"
            )


def check_writable(folder: str | Path) -> None:
    """Refuse a results folder that this user cannot write to, before any work is done.

    Raises:
        ConfigurationError: naming the folder, or the existing folder above it.
    """
    nearest = Path(folder)
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"results: {str(folder)!r}: no write permission on {str(nearest)!r}; "
            "allowed: a folder that this user can write to"
        )
