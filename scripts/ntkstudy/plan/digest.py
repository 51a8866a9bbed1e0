"""Configurations of jobs as Snakemake records them: long ones by a checksum."""

import hashlib
from typing import Any

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
