"""The project's own plan and claims, read once."""

from pathlib import Path

from plans import study_plan

from ntkstudy.claims.document import claims_schema, read_claims
from ntkstudy.plan.layers import source_files

CONFIG = Path(__file__).parents[1] / "config"
SCHEMA = claims_schema(CONFIG / "claims_schema.yaml")
PLAN = study_plan()
FILES = source_files(CONFIG / "claims", PLAN.sources)
DOCUMENT = read_claims(list(FILES.values()), SCHEMA, list(PLAN.config["experiments"]))
CLAIMS = DOCUMENT["claims"]
