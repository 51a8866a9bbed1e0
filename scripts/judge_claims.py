"""Judge every claim from the tables of a run."""

import json

from job import run_job
from ntkflow.errors import ConfigurationError
from ntkstudy.claims import judge_claim
from ntkstudy.data.collected import tables_by_experiment
from ntkstudy.data.storage import replacing
from ntkstudy.plan.configuration import complete, read_schema, read_yaml, validate


def main(input: dict, output: dict, cfg: dict) -> None:
    """Write sources and judged claims as JSON; no verdict is written by hand."""
    schema = read_schema(input["schema"])
    document = read_yaml(input["claims"])
    validate(document, schema, source=input["claims"])
    document = complete(document, schema)
    tables = tables_by_experiment(input.get("tables", []))
    judged = []
    try:
        for claim in document["claims"]:
            check_claim(claim, document["sources"], cfg["experiments"])
            judged.append(judge_claim(claim, tables.get(claim["experiment"], {})))
            print(f"{claim['id']}: {judged[-1]['verdict']}")
    except ConfigurationError as error:
        raise ConfigurationError(f"{input['claims']}: {error}") from None
    with replacing(output["claims"]) as temporary:
        temporary.write_text(
            json.dumps({"sources": document["sources"], "claims": judged}, indent=1)
        )


def check_claim(claim: dict, sources: dict, experiments: list[str]) -> None:
    """Refuse a claim that names an unknown source or experiment, or allows an empty range."""
    for key, allowed in (("source", list(sources)), ("experiment", experiments)):
        if claim[key] not in allowed:
            raise ConfigurationError(
                f"{claim['id']}: {key}: {claim[key]!r} is unknown; allowed: {', '.join(allowed)}"
            )
    for role, criteria in claim["criteria"].items():
        for criterion in criteria:
            lower, upper = criterion.get("range", (0, 0))
            if lower > upper:
                raise ConfigurationError(
                    f"{claim['id']}: {role}: range: {criterion['range']} is empty; "
                    "allowed: the lower bound first"
                )


run_job(main, globals())
