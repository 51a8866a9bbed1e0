"""Checksums: of long configurations, as Snakemake records them, and of the code behind verdicts."""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

# What the verdicts of the quick scale follow from; figures, report and documents are not.
CODE = (
    *("Snakefile", "rules/*.smk", "scripts/*.py", "scripts/ntk*/**/*.py"),
    *("config/config.yaml", "config/quick.yaml", "config/*schema.yaml", "config/*/*.yaml"),
    "resources/mutations/mistakes.yaml",
)
BESIDE = (
    *("scripts/ntkstudy/report/*.py", "scripts/render_report.py", "scripts/draw_*.py"),
    *("scripts/write_*.py", "scripts/run_workflow.py", "scripts/estimate_costs.py"),
    "scripts/ntkstudy/forking/*.py",
)
LONGEST = 200  # characters that a line of `snakemake --dry-run` may spend on one configuration


class Digested(dict[str, Any]):
    """A configuration that is written as its checksum where it is long.

    Snakemake compares what it recorded of a job's `params`, their `repr`, and prints both if they
    differ. Equal checksums are equal configurations, in the same order. Scripts get a plain `dict`.

    Examples:
        >>> Digested(kind="modes")
        {'kind': 'modes'}
        >>> Digested(text=300 * "long ")
        sha256:dd07a257380c7241c0066069d92368797f8fe7a3d6461d1b97d73e5c830d9527
    """

    def __repr__(self) -> str:
        text = super().__repr__()
        if len(text) <= LONGEST:
            return text
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def __reduce__(self) -> tuple:
        return dict, (dict(self),)


def code_digest(project: Path) -> str:
    """SHA-256 of the files that the quick scale's verdicts follow from, names included."""
    beside = {path for pattern in BESIDE for path in project.glob(pattern)}
    files = {path for pattern in CODE for path in project.glob(pattern)} - beside
    return files_digest(files, project)


def files_digest(files: Iterable[str | Path], folder: Path = Path()) -> str:
    """SHA-256 of files, with their names in the folder."""
    total = hashlib.sha256()
    for path in sorted(map(Path, files)):
        content = _content(path, path.stat().st_mtime_ns)
        total.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return total.hexdigest()


@cache
def _content(path: Path, changed_at: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
