"""What a run's configuration changes of the default scale, key by key."""

from collections.abc import Mapping, Sequence
from typing import Any

ABSENT = object()
# Named or said elsewhere in the report, and not what is run.
BESIDE = ("results", "only", "partial", "report")


def changed_keys(
    config: Mapping[str, Any], defaults: Mapping[str, Any], experiments: Sequence[str]
) -> list[tuple[str, str, Any, Any]]:
    """Keys whose value differs, as (experiment, key, default scale's value, value here).

    Args:
        config: of a run, completed.
        defaults: of the default scale, completed.
        experiments: names of those that the run has; the others are left out.

    Returns:
        Rows in the order of the configuration; the experiment is empty for keys around them, and
        None stands for a value that is not there.
    """
    around = [key for key in config if key not in ("experiments", *BESIDE)]
    rows = [
        ("", key, defaults.get(key), config[key])
        for key in around
        if defaults.get(key) != config[key]
    ]
    for name in experiments:
        here = _leaves(config["experiments"][name])
        there = _leaves(defaults["experiments"].get(name, {}))
        for key in dict.fromkeys([*here, *there]):
            before, now = (side.get(key, ABSENT) for side in (there, here))
            if before != now:
                rows.append((name, key, *(None if v is ABSENT else v for v in (before, now))))
    return rows


def _leaves(block: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Values by dotted key; keys of a sweep are dotted themselves."""
    leaves: dict[str, Any] = {}
    for key, value in block.items():
        if isinstance(value, Mapping) and value:
            leaves |= _leaves(value, f"{path}{key}.")
        else:
            leaves[f"{path}{key}"] = value
    return leaves
