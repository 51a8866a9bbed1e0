"""claims.json: its schema, families of claims, scale and checksums."""

import copy
import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest
from judging_tables import MEAN_LAW, noise, table

from ntkflow.errors import ConfigurationError
from ntkstudy.claims import judge_claim
from ntkstudy.claims.controls import with_controls
from ntkstudy.claims.judged import as_table, build_document, check_document, find_families
from ntkstudy.claims.reduced import judge_by_forms
from ntkstudy.data.collected import Tables, tables_by_experiment
from ntkstudy.data.tables import with_axes, write_table

SCHEMA = Path(__file__).parents[1] / "config" / "judged_schema.json"


def claim(name, *criteria, **changes):
    texts = dict.fromkeys(("section", "statement", "published", "explanation"), "text")
    shared = {"description": "theta", "table": "laws", "column": "theta"}
    return texts | {
        "id": f"ours.{name}", "source": "ours", "experiment": "e", "read_in": ["figure", "code"],
        "criteria": {"observation": [shared | one for one in criteria]},
    } | changes  # fmt: skip


CLAIMS = [
    claim("falls", {"kind": "decreasing", "along": "width"}, deviations=["eight widths there"],
          source_ran={"seeds": 10.0, "width": 800.0}),
    claim("small", {"kind": "below", "along": "width", "bound": 1.0},
          {"kind": "within", "where": {"width": 100}, "range": [0.0, 1.0]}),
    claim("elsewhere", {"kind": "decreasing", "along": "width", "table": "missing"},
          source_ran={"depth": 3.0}),
]  # fmt: skip


@pytest.fixture
def tables(tmp_path) -> dict[str, Tables]:
    folder = tmp_path / "e" / "tables"
    folder.mkdir(parents=True)
    write_table(folder / "laws.csv", with_axes(MEAN_LAW, ["width", "seed"]))
    return tables_by_experiment([str(folder / "laws.csv")])


@pytest.fixture
def document(tables):
    own = tables["e"]
    judged = [with_controls(one, judge_by_forms(one, own), own) for one in CLAIMS]
    sources = {"ours": {"title": "Ours", "description": ""}}
    return build_document(sources, CLAIMS, judged, tables, scale="tiny")


def test_a_document_fits_the_schema_that_ships_with_it(document):
    check_document(json.loads(json.dumps(document)), SCHEMA, source="claims.json")
    falls = document["claims"][0]
    assert falls["read_in"] == ["figure", "code"]
    assert falls["deviations"] == ["eight widths there"]
    (criterion,) = falls["criteria"]
    assert (criterion["level"], criterion["method"]) == (0.95, "Welch's t")
    assert (criterion["n"], criterion["counts"], criterion["unit"]) == (40, "networks", "1")
    assert (criterion["control"]["change"], criterion["control"]["outcome"]) == (
        "axis reversed",
        "caught",
    )
    assert document["claims"][2]["criteria"][0]["control"] is None


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        (("scale",), None, "scale: None is not allowed; allowed: text"),
        (("claims", 0, "verdict"), "true", "claims[0].verdict: 'true' is unknown; allowed: "),
        (("claims", 0, "read_in"), [], "claims[0].read_in: [] is empty; allowed: at least 1"),
        (("claims", 0, "criteria", 0, "level"), 95, "claims[0].criteria[0].level: 95 is not"),
        (("claims", 0, "criteria", 0, "sha256"), "abc", "criteria[0].sha256: 'abc' is not allowed"),
        (("claims", 0, "criteria", 0, "seeds"), 3, "claims[0].criteria[0].seeds: unknown key"),
    ],
)
def test_a_mistake_in_a_document_is_one_line(document, place, value, problem):
    wrong = copy.deepcopy(document)
    *path, last = place
    inner = wrong
    for key in path:
        inner = inner[key]
    inner[last] = value
    with pytest.raises(ConfigurationError) as error:
        check_document(wrong, SCHEMA, source="claims.json")
    assert problem in str(error.value)


@pytest.mark.parametrize("key", ["unit", "n", "counts", "method", "control", "sha256"])
def test_no_number_stands_without_what_it_needs(document, key):
    wrong = copy.deepcopy(document)
    del wrong["claims"][1]["criteria"][0][key]
    with pytest.raises(ConfigurationError, match=rf"{key}: missing; this key is required"):
        check_document(wrong, SCHEMA, source="claims.json")


def test_criteria_carry_the_checksum_of_their_table(document, tmp_path):
    data = (tmp_path / "e" / "tables" / "laws.csv").read_bytes()
    falls, _, elsewhere = document["claims"]
    assert falls["criteria"][0]["sha256"] == hashlib.sha256(data).hexdigest()
    assert elsewhere["criteria"][0]["sha256"] is None


def test_scale_stands_against_the_sources(document):
    falls, small, elsewhere = document["claims"]
    assert falls["scale"] == [
        {"axis": "seeds", "source": 10.0, "here": 40.0, "ratio": 4.0},
        {"axis": "width", "source": 800.0, "here": 1600.0, "ratio": 2.0},
    ]
    assert small["scale"] == []
    assert elsewhere["scale"] == [{"axis": "depth", "source": 3.0, "here": None, "ratio": None}]


def test_families_say_what_chance_alone_would_turn(document):
    (family,) = document["families"]
    assert (family["experiment"], family["table"]) == ("e", "laws")
    assert family["claims"] == ["ours.falls", "ours.small"]
    assert family["intervals"] == 2 + 4  # two steps; three widths and one range
    assert family["by_chance"] == pytest.approx(0.05 * 6)


def test_numbers_without_uncertainty_and_excesses_turn_nothing_by_chance():
    exact = MEAN_LAW[MEAN_LAW["seed"] == 0].drop(columns="seed")
    shown = claim("shown", {"kind": "above", "along": "width", "bound": 0.0})
    shown["criteria"]["excess"] = shown["criteria"]["observation"]
    judged = judge_claim(shown, {"laws": exact})
    assert judged["verdict"] == "reproduced"
    assert find_families([judged]) == []
    many = claim("many", {"kind": "above", "along": "width", "bound": 0.0})
    wide = judge_claim(many, {"laws": table(noise(1, 0.1), widths=range(30))})
    assert find_families([wide])[0]["by_chance"] == 1.0  # of one claim no more than one


def test_the_table_has_a_row_a_criterion(document):
    found = as_table(document)
    assert list(found["id"]) == ["ours.falls", "ours.small", "ours.small", "ours.elsewhere"]
    numbers = [one for each in document["claims"] for one in each["criteria"]]
    assert list(found["allowed"]) == [one["allowed"] for one in numbers]
    assert found["value"].iloc[0] == numbers[0]["value"]
    assert pd.isna(found["value"].iloc[3])
