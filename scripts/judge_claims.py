"""Judge every claim from the tables of a run, and a second time on its controls."""

import json
from pathlib import Path

from job import run_job
from ntkflow.errors import ConfigurationError
from ntkstudy.claims.controls import with_controls
from ntkstudy.claims.document import claims_schema, read_claims
from ntkstudy.claims.reduced import judge_by_forms, judged_form
from ntkstudy.data.collected import tables_by_experiment
from ntkstudy.data.storage import replacing
from ntkstudy.registry import load


def main(input: dict, output: dict, cfg: dict) -> None:
    """Write sources and judged claims as JSON; no verdict is written by hand."""
    load(cfg["extensions"])
    files = _as_list(input["claims"])
    document = read_claims(files, claims_schema(input["schema"]), cfg["experiments"])
    tables = tables_by_experiment(input.get("tables", []))
    judged = []
    for claim in document["claims"]:
        own = tables.get(claim["experiment"], {})
        try:
            found = judge_by_forms(claim, own, scale=cfg["scale"])
            judged.append(with_controls(judged_form(claim, found), found, own))
        except ConfigurationError as error:
            file = next(file for file in files if Path(file).stem == claim["source"])
            raise ConfigurationError(f"{file}: {error}") from None
        control = judged[-1]["control"]
        print(f"{claim['id']}: {judged[-1]['verdict']}; control: {control['outcome']}")
    with replacing(output["claims"]) as temporary:
        temporary.write_text(
            json.dumps({"sources": document["sources"], "claims": judged}, indent=1)
        )


def _as_list(files: str | list[str]) -> list[str]:
    return [files] if isinstance(files, str) else files


run_job(main, globals())
