"""The project's own plan and claims, read once."""

from pathlib import Path

from ntkstudy.claims.document import claims_schema, read_claims
from ntkstudy.plan.layers import source_files
from ntkstudy.plan.loading import load_plan

CONFIG = Path(__file__).parents[1] / "config"
SCHEMA = claims_schema(CONFIG / "claims_schema.yaml")
PLAN = load_plan([CONFIG / "config.yaml"], CONFIG / "schema.yaml")
FILES = source_files(CONFIG / "claims", PLAN.sources)
DOCUMENT = read_claims(list(FILES.values()), SCHEMA, list(PLAN.config["experiments"]))
CLAIMS = DOCUMENT["claims"]
