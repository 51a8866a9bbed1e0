"""The project's own claims: config/claims.yaml fits its schema and the configuration."""

from itertools import chain
from pathlib import Path

import pytest

from ntkflow.errors import ConfigurationError
from ntkstudy.plan.configuration import complete, read_schema, read_yaml, validate
from ntkstudy.plan.loading import load_plan

CONFIG = Path(__file__).parents[1] / "config"
SCHEMA = read_schema(CONFIG / "claims_schema.yaml")
CLAIMS = complete(read_yaml(CONFIG / "claims.yaml"), SCHEMA)["claims"]
PLAN = load_plan([CONFIG / "config.yaml"], CONFIG / "schema.yaml")


def test_claims_are_valid_and_unique():
    validate(read_yaml(CONFIG / "claims.yaml"), SCHEMA, source="claims.yaml")
    assert len({claim["id"] for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:  # our own claims are named by their subject
        assert claim["source"] in ("ours", claim["id"].split(".")[0])


# Axes that tables have of their own.
TABLE_AXES = {
    *("seed", "step", "gamma", "mode", "predicted", "sample", "pair", "points", "fraction"),
    *("case", "definite", "output_scale", "rank", "factor", "time", "fit"),
}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim["id"])
def test_claims_name_what_the_configuration_makes(claim):
    name = claim["experiment"]
    axes = {*PLAN.cells(name)[0].axes, *TABLE_AXES}
    assert set(claim["figures"]) <= set(PLAN.block(name)["figures"])
    assert set(claim["requires"]) <= axes | {"seeds"}
    for criterion in chain(*claim["criteria"].values()):
        assert criterion["table"] in PLAN.table_names(name)
        assert criterion.get("over", "seed") in axes | {"sample"}
        keys = {*criterion.get("where", {}), *criterion.get("relative_to", {})}
        along = criterion.get("along", [])
        assert keys | {*([along] if isinstance(along, str) else along)} <= axes


def test_statistic_only_where_it_is_used():
    criterion = {"kind": "decreasing", "description": "d", "table": "t", "column": "c"}
    claim = SCHEMA["properties"]["claims"]["items"]["properties"]
    rules = claim["criteria"]["properties"]["observation"]
    validate([criterion | {"along": "width"}], rules, source="claims.yaml")
    with pytest.raises(ConfigurationError, match="statistic"):
        validate([criterion | {"along": "width", "statistic": "std"}], rules, source="claims.yaml")
