"""Judge every claim from the tables of a run, and a second time on its controls."""

import json
import shutil
from pathlib import Path

from job import run_job
from ntkflow.errors import ConfigurationError
from ntkstudy.claims.controls import with_controls
from ntkstudy.claims.document import claims_schema, read_claims
from ntkstudy.claims.judged import as_table, build_document, check_document
from ntkstudy.claims.reduced import judge_by_forms, judged_form
from ntkstudy.data.collected import tables_by_experiment
from ntkstudy.data.seal import seal
from ntkstudy.data.storage import replacing
from ntkstudy.registry import load


def main(input: dict, output: dict, cfg: dict) -> None:
    """Write the judged claims and the schema that they fit; no verdict is written by hand."""
    load(cfg["extensions"])
    files = _as_list(input["claims"])
    document = read_claims(files, claims_schema(input["schema"]), cfg["experiments"])
    tables = tables_by_experiment(input.get("tables", []))
    path, judged = Path(output["claims"]), []
    scale = path.parent.name
    for claim in document["claims"]:
        own = tables.get(claim["experiment"], {})
        try:
            found = judge_by_forms(claim, own, scale=scale)
            judged.append(with_controls(judged_form(claim, found), found, own))
        except ConfigurationError as error:
            file = next(file for file in files if Path(file).stem == claim["source"])
            raise ConfigurationError(f"{file}: {error}") from None
        control = judged[-1]["control"]
        print(f"{claim['id']}: {judged[-1]['verdict']}; control: {control['outcome']}")
    made = build_document(document["sources"], document["claims"], judged, tables, scale=scale)
    check_document(made, input["judged_schema"], source=str(path))
    with replacing(output["schema"]) as temporary:
        shutil.copyfile(input["judged_schema"], temporary)
    with replacing(output["table"]) as temporary:
        as_table(made).to_csv(temporary, index=False)
        seal(temporary)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(made, indent=1))


def _as_list(files: str | list[str]) -> list[str]:
    return [files] if isinstance(files, str) else files


run_job(main, globals())
