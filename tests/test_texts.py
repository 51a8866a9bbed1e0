"""Texts that follow verdicts, and no measured number typed into one."""

import ast
import re
from itertools import chain
from pathlib import Path

import pytest
from own_claims import CLAIMS, CONFIG, FILES, PLAN, SCHEMA

from ntkflow.errors import ConfigurationError
from ntkstudy.claims.document import read_claims
from ntkstudy.plan.configuration import read_yaml
from ntkstudy.texts import NUMBER, check_numbers, explain_claim, explain_experiment, fill

JUDGED = [
    {"name": "spread", "value": -0.4812, "low": -0.52, "high": -0.44},
    {"name": "peak", "value": None, "low": None, "high": None},
    {"name": None, "value": 1.0, "low": 1.0, "high": 1.0},
]
TEXTS = [
    {"verdict": "reproduced", "text": "It falls like {spread.value}."},
    {"verdict": "corrected", "scale": ["full"], "text": "Not here."},
]


def test_the_text_for_the_verdict_is_shown_with_its_numbers():
    found = explain_claim(TEXTS, "reproduced", JUDGED, "default")
    assert found == ("It falls like −0.481.", "")


@pytest.mark.parametrize(
    ("verdict", "scale", "note"),
    [
        ("inconclusive", "default",
         "The explanation is written for another outcome: reproduced; or corrected at scale full."),
        ("corrected", "quick",
         "The explanation is written for another outcome: reproduced; or corrected at scale full."),
        ("not run", "quick", "The explanation is shown where the claim is judged."),
    ],
)  # fmt: skip
def test_no_text_is_shown_for_another_outcome(verdict, scale, note):
    assert explain_claim(TEXTS, verdict, JUDGED, scale) == ("", note)
    assert explain_claim(TEXTS, "corrected", JUDGED, "full") == ("Not here.", "")


def test_a_plain_text_fits_every_verdict():
    assert explain_claim("784 · 100", "contradicted", JUDGED, "x") == ("784 · 100", "")


def test_numbers_have_the_digits_of_their_interval():
    assert (
        fill("{spread.low} to {spread.high}; {peak.value}", {"": JUDGED}) == "−0.520 to −0.440; —"
    )
    assert fill("{r: r' Θ r = 1}", {"": JUDGED}) == "{r: r' Θ r = 1}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{spred.value}", "criterion in {spred.value}: 'spred' is unknown; allowed: spread, peak"),
        ("{spread.mean}", "number in {spread.mean}: 'mean' is unknown; allowed: value, low, high"),
        ("{a.b:spread.value}", "{a.b:spread.value} names a claim; allowed: {name.value}"),
    ],
)
def test_a_wrong_placeholder_is_an_error(text, problem):
    with pytest.raises(ConfigurationError) as error:
        check_numbers(text, {"": JUDGED}, where="x.yaml: x.y: explanation")
    assert str(error.value).startswith(f"x.yaml: x.y: explanation: {problem}")


def test_paragraphs_of_an_experiment_follow_its_claims():
    claims = {
        "x.a": {"verdict": "reproduced", "criteria": JUDGED},
        "x.b": {"verdict": "not run", "criteria": JUDGED},
    }
    texts = [
        {"text": "How it is done."},
        {"claims": {"x.a": "reproduced"}, "text": "Slope {x.a:spread.value}."},
        {"claims": {"x.a": "corrected"}, "text": "Never."},
        {"claims": {"x.b": "corrected"}, "text": "Never."},
        {"scale": ["full"], "text": "Never."},
    ]
    assert explain_experiment(texts, claims, "default", where="e").split("\n\n") == [
        "How it is done.",
        "Slope −0.481.",
        "The explanation is written for another outcome: x.a corrected.",
        "The explanation is shown where x.b is judged.",
        "The explanation is written for another outcome: scale full.",
    ]
    assert explain_experiment("Always.", {}, "quick", where="e") == "Always."


@pytest.mark.parametrize(
    ("paragraph", "problem"),
    [
        ({"claims": {"x.c": "corrected"}, "text": ""}, "e: explanation: 'x.c' is unknown"),
        ({"text": "{x.a:spred.value}"}, "e: explanation: criterion in {x.a:spred.value}: 'spred'"),
        ({"text": "{spread.value}"}, "e: explanation: None is unknown"),
    ],
)
def test_a_wrong_name_in_a_paragraph_is_an_error(paragraph, problem):
    claims = {"x.a": {"verdict": "reproduced", "criteria": JUDGED}}
    with pytest.raises(ConfigurationError) as error:
        explain_experiment([paragraph], claims, "default", where="e")
    assert str(error.value).startswith(problem)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("name: wide\n", "name: wid\n",
         "ours.long-not-lazy: explanation: criterion in {wide.value}"),
        ("name: width-10\n", "name: width-2\n", "ours.long-not-lazy: name: 'width-2' stands twice"),
        ("criterion: wide }", "criterion: wid }",
         "ours.long-not-lazy: horizon.criterion: 'wid' is unknown"),
        ("criterion: wide }", "criterion: width-2 }",
         "ours.long-not-lazy: horizon.criterion: 'width-2' is judged at one width; allowed: "),
    ],
)  # fmt: skip
def test_a_mistake_in_a_claim_is_named(tmp_path, old, new, problem):
    text = Path(FILES["ours"]).read_text(encoding="utf-8")
    assert old in text
    file = tmp_path / "ours.yaml"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigurationError) as error:
        read_claims([file], SCHEMA, list(PLAN.config["experiments"]))
    assert str(error.value).startswith(f"{file}: {problem}")


def test_experiments_name_claims_and_criteria_that_exist():
    claims = {
        claim["id"]: {
            "verdict": "reproduced",
            "criteria": [
                {"value": 1.0, "low": None, "high": None} | {"name": one["name"]}
                for one in chain(*claim["criteria"].values())
            ],
        }
        for claim in CLAIMS
    }
    for name, block in PLAN.config["experiments"].items():
        texts = block["explanation"]
        for text in [] if isinstance(texts, str) else texts:
            as_written = {one: claims[one] | {"verdict": verdict}
                          for one, verdict in text.get("claims", {}).items()}  # fmt: skip
            found = explain_experiment([text], claims | as_written, "default", where=name)
            assert not NUMBER.search(found)
            assert found.count("{") == text["text"].count("{") - len(NUMBER.findall(text["text"]))


# A number in a text is a constant where its claim or experiment has it: in the configuration, in
# the bounds of a criterion, in what the source published. Others come from tables, as {name.value},
# but for these.
TYPED = re.compile(r"(?<![\w.])(?:\d*\.\d+(?:e-?\d+)?|\d+(?= ?%))")
WORDS = re.compile(
    r"\b(?:twice|thrice|half|halves|doubles?|\w+fold"
    r"|(?:a|one) (?:third|quarter|fifth|tenth|percent)"
    r"|(?:two|three|four|five|six|ten|hundred|thousand) times|orders? of magnitude)\b"
)
ARITHMETIC = {
    "kernel-report.jacobian-memory": {"9.97e8"},  # 1,000 images, 10 outputs, 99,710 weights
    # (1 - 2 .1 .1)^40, times 11.69; (1 - 2 .1 .1 - .1)^40 of that, decayed twice
    "regularization.l2-sharper-decline": {"0.4457", "5.21", ".07"},
    "regularization.l1": {".151", "11.91", "1.80"},  # the formula beside it, at s = 1
    "scale.full-mnist": {"14.4"},  # 60,000^2 numbers of four bytes
    "slides.gp": {"80"},  # from the 10th to the 90th percentile
    "spectral_bias": {"5"},  # ln 20
}
WORDED = {
    "regularization.l2-sharper-decline": {"twice"},  # the decay of static runs
    "lazy-blog.fast-axis": {"half"},  # half axes
    "hanin-nica.mean": {"half"},  # of the neurons are active in the mean
    "hanin-nica.mean-printed": {"half"},
    "hanin-nica.beta-only": {"twice"},  # widths 32 and 64
    "jacot-2018.principal-component": {"half"},  # of the loss
    "regularization.width1-rank1": {"half"},  # a random half-space
    "regularization.gd-stability": {"ten times"},  # 1 / (p (1 - p)) for ten classes
    "scale.blocks-in-tiles": {"ten times", "hundred times"},  # outputs
    "slides.cost": {"half"},  # by symmetry
    "ellipses": {"half"},
    "catapult": {"two times", "twice"},  # of the largest stable step
    "gradient_stability": {"a tenth"},
    "tiled_blocks": {"ten times", "hundred times"},
    "network_against_kernel": {"a fifth"},  # held_out
    "arch_drift": {"half", "a tenth"},  # levels, step_share
    "principal_component": {"half", "a tenth"},  # the target's size; an output scale of 10
}


def test_a_typed_number_is_found():
    text = "At width 1000 it is .147 ({small.value}), 12 % less, about a fifth, and grows tenfold."
    assert typed(text) == {".147", "12"}
    assert set(WORDS.findall(text)) == {"a fifth", "tenfold"}
    assert typed("section 2, n0 = 2, k = 2, 4 and 7") == set()


def texts_of(explanation) -> list[str]:
    return [explanation] if isinstance(explanation, str) else [each["text"] for each in explanation]


def typed(text: str) -> set[str]:
    return set(TYPED.findall(NUMBER.sub("", text)))


def constants(*parts) -> set[float]:
    """Numbers that configurations and sources state, and their shares in percent."""
    found = {float(number) for number in re.findall(r"\d*\.?\d+(?:e[+-]?\d+)?", str(parts))}
    return found | {100 * number for number in found}


def block_of(name: str) -> dict:
    full = read_yaml(CONFIG / "full.yaml")["experiments"]
    return PLAN.config["experiments"].get(name) or full[name]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim["id"])
def test_no_measured_number_is_typed_into_a_claim(claim):
    own = {key: value for key, value in claim.items() if key not in ("explanation", "history")}
    block = {k: v for k, v in block_of(claim["experiment"]).items() if k != "explanation"}
    known = constants(own, block)
    for text in texts_of(claim["explanation"]):
        left = {n for n in typed(text) if not any(abs(float(n) - k) < 1e-9 for k in known)}
        assert left <= ARITHMETIC.get(claim["id"], set())
        words = set(WORDS.findall(NUMBER.sub("", text)))
        assert words <= WORDED.get(claim["id"], set())


EXPERIMENTS = {**PLAN.config["experiments"], **{
    name: block for name, block in read_yaml(CONFIG / "full.yaml")["experiments"].items()
    if "title" in block
}}  # fmt: skip


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_no_measured_number_is_typed_into_an_experiment(name):
    block = EXPERIMENTS[name]
    known = constants({key: value for key, value in block.items() if key != "explanation"})
    for text in texts_of(block.get("explanation", "")):
        left = {n for n in typed(text) if not any(abs(float(n) - k) < 1e-9 for k in known)}
        assert left <= ARITHMETIC.get(name, set())
        words = set(WORDS.findall(NUMBER.sub("", text)))
        assert words <= WORDED.get(name, set())


# Levels of bands and intervals, the factor of a hit, and the source's update 1 - 1.02 l2.
IN_CAPTIONS = {"90", "95", "99", "5", "1.5", "1.02", ".3"}
SCRIPTS = CONFIG.parent / "scripts"
DRAWN = sorted([*SCRIPTS.glob("figures/*.py"), *SCRIPTS.glob("animations/*.py")])


@pytest.mark.parametrize("script", DRAWN, ids=lambda script: script.stem)
def test_no_measured_number_is_typed_into_a_caption(script):
    caption = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8")))
    assert typed(caption) <= IN_CAPTIONS
