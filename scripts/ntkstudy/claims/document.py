"""The claims of all sources, read from one file a source and checked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ntkflow.errors import ConfigurationError, unknown

from ..plan.configuration import read_yaml, validate
from ..schemas import complete, resolve_references
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
            experiment or allows an empty range, or its id is taken.
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


def _reduced(claim: Mapping) -> Mapping:
    """Criteria of a claim's reduced form, where they are its own."""
    return claim.get("reduced", {}).get("criteria", {})
