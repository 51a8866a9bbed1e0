"""Seeded mistakes: each is a replacement in one file of a copy of the project, and must be noticed.

A mistake is noticed by a claim whose verdict, or what its reduced form comes out as, is another one
in a run with the mistake than in a run without it. Which claims must notice is written down before
any run, in resources/mutations/mistakes.yaml; `make mutations` measures it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ntkflow.errors import ConfigurationError

from ..plan.configuration import read_yaml, validate

MISTAKES = "resources/mutations/mistakes.yaml"
MEASURED = "resources/mutations/measured.json"
_TEXT = {"type": "string", "minLength": 1}
_NAMES = {"type": "array", "minItems": 1, "items": _TEXT}
_ENTRY = {
    "mistake": _TEXT,
    "file": _TEXT,
    "old": _TEXT,
    "new": {"type": "string"},
    "experiments": _NAMES,
    "noticed_by": _NAMES,
}
_SCHEMA = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "additionalProperties": False,
        "required": list(_ENTRY),
        "properties": _ENTRY,
    },
}


@dataclass(frozen=True)
class Mistake:
    """A replacement of `old` by `new` in a file, and the claims that must notice it."""

    name: str
    mistake: str
    file: str
    old: str
    new: str
    experiments: list[str]
    noticed_by: list[str]

    def apply(self, project: Path) -> None:
        """Make the mistake in a copy of the project.

        Raises:
            ConfigurationError: if the file does not hold `old` exactly once.
        """
        path = project / self.file
        text = path.read_text(encoding="utf-8")
        if (found := text.count(self.old)) != 1:
            raise ConfigurationError(
                f"{self.name}: old: stands {found} times in {self.file}; allowed: once"
            )
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


def read_mistakes(file: str | Path) -> list[Mistake]:
    """Mistakes by name, in the order of the file.

    Raises:
        ConfigurationError: naming the file and the key, if an entry lacks a key or has another.
    """
    entries = read_yaml(file)
    validate(entries, _SCHEMA, source=str(file))
    return [Mistake(name, **entry) for name, entry in entries.items()]


def compare(
    mistake: Mistake, clean: Sequence[Mapping[str, Any]], mutated: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Which of the claims that must notice a mistake did.

    Args:
        mistake: the mistake.
        clean: judged claims of the run without it.
        mutated: those of the run with it; empty if that run failed, which no claim has noticed.

    Returns:
        `name`, `mistake`, `caught`, whether all of them noticed, and `claims`, one row each with
        `id`, `clean` and `mutated`, what their criteria came out as.

    Raises:
        ConfigurationError: if a claim was not judged in the clean run, so that it cannot notice.
    """
    before, after = ({each["id"]: each["outcome"] for each in run} for run in (clean, mutated))
    rows = []
    for name in mistake.noticed_by:
        if before.get(name, "not run") in ("not run", "inconclusive"):
            raise ConfigurationError(
                f"{mistake.name}: noticed_by: {name} is {before.get(name, 'unknown')} without the "
                "mistake; allowed: claims that the quick scale judges"
            )
        rows.append({"id": name, "clean": before[name], "mutated": after.get(name, "run failed")})
    caught = bool(mutated) and all(row["clean"] != row["mutated"] for row in rows)
    return {"name": mistake.name, "mistake": mistake.mistake, "caught": caught, "claims": rows}
