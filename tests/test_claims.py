"""The project's own claims: the files of config/claims fit their schema and the configuration."""

from itertools import chain
from pathlib import Path

import pytest
from own_claims import CLAIMS, DOCUMENT, FILES, PLAN, SCHEMA
from plans import study_plan

from ntkflow.errors import ConfigurationError
from ntkstudy.claims.document import read_claims
from ntkstudy.plan.configuration import validate


def test_sources_come_in_one_order_and_have_experiments_and_claims():
    assert list(DOCUMENT["sources"]) == list(FILES) == PLAN.sources
    blocks = PLAN.config["experiments"].values()
    assert list(dict.fromkeys(block["source"] for block in blocks)) == PLAN.sources


def test_claims_are_named_by_their_source():
    named = ("ours", "architectures")  # by their subject
    for claim in CLAIMS:
        assert claim["source"] in (*named, claim["id"].split(".")[0])


# Axes that tables have of their own.
TABLE_AXES = {
    *("seed", "step", "gamma", "mode", "predicted", "sample", "pair", "points", "fraction"),
    *("case", "definite", "output_scale", "rank", "factor", "time", "fit", "level", "candidate"),
    *("n", "ridge", "share", "rows", "chosen", "judging", "nodes", "quantity"),
    *("batch", "beta", "degenerate", "hexagon", "moment", "parameters", "updates", "width"),
}


def drawn(block) -> list[str]:
    """Figures and animations of an experiment."""
    return [*block["figures"], *block["animations"]]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim["id"])
def test_claims_name_what_the_configuration_makes(claim):
    name = claim["experiment"]
    axes = {*PLAN.cells(name)[0].axes, *TABLE_AXES}
    assert set(claim["figures"]) <= set(drawn(PLAN.block(name)))
    assert set(claim["requires"]) <= axes | {"seeds"}
    assert set(claim.get("source_ran", {})) <= axes | {"seeds"}
    for criterion in chain(*claim["criteria"].values()):
        assert criterion["table"] in PLAN.table_names(name)
        assert (criterion["over"] or "seed") in axes | {"sample"}
        keys = {*criterion["where"], *(criterion["relative_to"] or {})}
        along = criterion.get("along") or []
        assert keys | {*([along] if isinstance(along, str) else along)} <= axes


# Figures that no claim is about, although there are claims about their experiment.
BARE_FIGURES = {
    ("kernel_profile", "training_points"): "the data",
    ("initial_functions", "initial_functions"): "what random networks look like",
}
# Claims whose numbers no figure would say more about.
BARE_CLAIMS = {
    "kernel-report.params": "a count",
    "kernel-report.unit-sphere": "a norm of the data",
    "lazy-blog.relative-change": "arithmetic",
    "lazy-blog.full-batch-flow": "two numbers at one step and one time",
}


def test_every_figure_stands_by_a_claim_and_every_claim_by_a_figure():
    """The text in place of a figure says what came out of the claims that it stands by."""
    claimed = {claim["experiment"] for claim in CLAIMS}
    figures = {
        (name, figure)
        for name, block in PLAN.config["experiments"].items()
        for figure in (drawn(block) if name in claimed else [])
    }
    shown = {(claim["experiment"], figure) for claim in CLAIMS for figure in claim["figures"]}
    assert figures - shown == BARE_FIGURES.keys()
    assert {claim["id"] for claim in CLAIMS if not claim["figures"]} == BARE_CLAIMS.keys()


ARCHITECTURES = [claim for claim in CLAIMS if claim["source"] == "architectures"]


@pytest.mark.parametrize("claim", ARCHITECTURES, ids=lambda claim: claim["id"])
def test_claims_on_small_images_say_so(claim):
    side = PLAN.block(claim["experiment"])["task"]["image_size"]
    said = any(f"of {side} × {side} pixels" in text for text in claim["deviations"])
    assert side == 14 or said


QUICK = study_plan("quick.yaml")
REDUCED = [claim for claim in CLAIMS if "reduced" in claim]


@pytest.mark.parametrize("claim", REDUCED, ids=lambda claim: claim["id"])
def test_reduced_forms_name_what_the_quick_scale_makes(claim):
    name = claim["experiment"]
    cells = [cell.axes for cell in QUICK.cells(name)]
    for axis, points in claim["reduced"]["requires"].items():
        if axis in cells[0]:
            assert set(points) <= {cell[axis] for cell in cells}
        else:
            assert axis in TABLE_AXES | {"seeds"}
    for criterion in chain(*claim["reduced"].get("criteria", {}).values()):
        assert criterion["table"] in QUICK.table_names(name)
        keys = {*criterion["where"], *(criterion["relative_to"] or {})}
        along = criterion.get("along") or []
        keys |= {*([along] if isinstance(along, str) else along)}
        assert keys <= {*cells[0], *TABLE_AXES}


def test_the_quick_scale_judges_claims_of_every_source():
    judged = [claim for claim in REDUCED if claim["experiment"] in QUICK.experiments]
    assert len(judged) >= 25
    assert {claim["source"] for claim in judged} == {*PLAN.sources}


def test_statistic_only_where_it_is_used():
    criterion = {"kind": "decreasing", "description": "d", "table": "t", "column": "c"}
    claim = SCHEMA["properties"]["claims"]["items"]["properties"]
    rules = claim["criteria"]["properties"]["observation"]
    validate([criterion | {"along": "width"}], rules, source="claims.yaml")
    with pytest.raises(ConfigurationError, match="statistic"):
        validate([criterion | {"along": "width", "statistic": "std"}], rules, source="claims.yaml")


def copy_claims(folder, change):
    """The files of claims in a folder of their own, one changed by a function of its text."""
    files = []
    for source, file in FILES.items():
        files.append(folder / f"{source}.yaml")
        text = Path(file).read_text(encoding="utf-8")
        files[-1].write_text(change(text) if source == "ours" else text, encoding="utf-8")
    return files


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("id: ours.long-not-lazy", "id: exp001.memory",
         "exp001.memory: id: stands in exp001.yaml too; allowed once"),
        ("experiment: long_training", "experiment: long_trainin",
         "ours.long-not-lazy: experiment: 'long_trainin' is unknown; allowed: "),
        ("title:", "titel:", "titel: unknown key; allowed: claims, counts_as, description, title;"),
    ],
)  # fmt: skip
def test_a_mistake_names_the_file_of_its_source(tmp_path, old, new, problem):
    files = copy_claims(tmp_path, lambda text: text.replace(old, new, 1))
    with pytest.raises(ConfigurationError) as error:
        read_claims(files, SCHEMA, list(PLAN.config["experiments"]))
    assert str(error.value).startswith(f"{tmp_path / 'ours.yaml'}: {problem}")
