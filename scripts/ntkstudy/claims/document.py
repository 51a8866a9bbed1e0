"""The claims of all sources, read from one file a source and checked."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from ntkflow.errors import ConfigurationError, unknown

from ..plan.configuration import read_yaml, validate
from ..schemas import complete, resolve_references
from ..texts import check_numbers
from .registry import criterion_schema


def claims_schema(path: str | Path) -> dict[str, Any]:
    """JSON schema of a file of claims, with the registered criteria in it.

    Args:
        path: the schema without its part `$defs/criteria`.
    """
    definition = {"type": "array", "minItems": 1, "items": criterion_schema()}
    return resolve_references(read_yaml(path), {"criteria": definition})


def read_claims(
    files: Sequence[str | Path], schema: Mapping, experiments: Sequence[str]
) -> dict[str, Any]:
    """Sources and claims, in the order of the files, each with its `source` and `counts_as`.

    Args:
        files: `<source>.yaml` for each source.
        schema: of a file, from `claims_schema`.
        experiments: names in the configuration.

    Returns:
        `sources`, name to title and description, and the list `claims`.

    Raises:
        ConfigurationError: naming the file, if it does not fit the schema, a claim names an unknown
            experiment or allows an empty range, its id is taken, two of its criteria have one name,
            or a text or horizon names none of them.
    """
    sources: dict[str, Any] = {}
    claims: dict[str, Any] = {}
    for file in map(Path, files):
        data = read_yaml(file)
        validate(data, schema, source=str(file))
        data = complete(data, schema)
        sources[file.stem] = {key: data[key] for key in ("title", "description")}
        for claim in data["claims"]:
            _check(claim, claims, experiments, where=f"{file}: {claim['id']}")
            counted = claim.get("counts_as", data["counts_as"])
            claims[claim["id"]] = claim | {"source": file.stem, "counts_as": counted}
    return {"sources": sources, "claims": list(claims.values())}


def _check(claim: Mapping, taken: Mapping, experiments: Sequence[str], *, where: str) -> None:
    """Refuse what a schema cannot find in a claim."""
    if claim["id"] in taken:
        other = f"{taken[claim['id']]['source']}.yaml"
        raise ConfigurationError(f"{where}: id: stands in {other} too; allowed once")
    if claim["experiment"] not in experiments:
        raise unknown(f"{where}: experiment", claim["experiment"], experiments)
    reduced = {f"reduced: {role}": entries for role, entries in _reduced(claim).items()}
    for role, entries in (claim["criteria"] | reduced).items():
        for criterion in entries:
            lower, upper = criterion.get("range", (0, 0))
            if lower > upper:
                problem = f"{criterion['range']} is empty; allowed: the lower bound first"
                raise ConfigurationError(f"{where}: {role}: range: {problem}")
    _check_names(claim, where=where)


def _reduced(claim: Mapping) -> Mapping:
    """Criteria of a claim's reduced form, where they are its own."""
    return claim.get("reduced", {}).get("criteria", {})


def _check_names(claim: Mapping, *, where: str) -> None:
    """Names of criteria, and what calls them by these: explanations and the horizon."""
    criteria = list(chain(*claim["criteria"].values()))
    named = {one["name"]: one for one in criteria if one["name"]}
    for name in named:
        if sum(one["name"] == name for one in criteria) > 1:
            raise ConfigurationError(f"{where}: name: {name!r} stands twice; allowed once")
    texts = claim["explanation"]
    for text in [texts] if isinstance(texts, str) else [one["text"] for one in texts]:
        check_numbers(text, {"": criteria}, where=f"{where}: explanation")
    if "horizon" in claim:
        axis, name = claim["horizon"]["axis"], claim["horizon"]["criterion"]
        if name not in named:
            raise unknown(f"{where}: horizon.criterion", name, list(named))
        if isinstance(named[name]["where"].get(axis), int | float):
            problem = f"{name!r} is judged at one {axis}; allowed: a criterion of several, or max"
            raise ConfigurationError(f"{where}: horizon.criterion: {problem}")
