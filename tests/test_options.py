"""Options: a dataclass says types, bounds, defaults and meanings once."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator

from ntkflow.errors import ConfigurationError
from ntkstudy.options import Rule, choices_schema, options_schema, read_options
from ntkstudy.plan.configuration import validate
from ntkstudy.schemas import complete

POSITIVE = Annotated[float, Rule(exclusiveMinimum=0)]


@dataclass(frozen=True, kw_only=True)
class Everything:
    """One field of every type."""

    count: Annotated[int, Rule("how many", minimum=1)]
    size: Annotated[float, Rule("how large", exclusiveMinimum=0, exclusiveMaximum=1)] = 0.5
    balanced: Annotated[bool, Rule("whether even")] = False
    name: Annotated[str, Rule("a word", pattern="^[a-z]+$")] = "word"
    points: Annotated[int | None, Rule("null takes all", minimum=1)] = None
    kind: Annotated[Literal["a", "b"], Rule("which")] = "a"
    other: Annotated[Literal["a", "b"] | None, Rule("null means kind")] = None
    steps: Annotated[list[POSITIVE], Rule("step sizes", minItems=1)] = field(
        default_factory=lambda: [0.1, 1.0]
    )
    axes: Annotated[str | list[str] | None, Rule("axis, or axes")] = None
    where: Annotated[dict[str, Any], Rule("axis to value")] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("count", {"type": "integer", "minimum": 1, "description": "how many"}),
        ("balanced", {"type": "boolean", "default": False, "description": "whether even"}),
        (
            "points",
            {
                "type": ["integer", "null"],
                "minimum": 1,
                "default": None,
                "description": "null takes all",
            },
        ),
        ("kind", {"type": "string", "enum": ["a", "b"], "default": "a", "description": "which"}),
        (
            "other",
            {
                "type": ["string", "null"],
                "enum": ["a", "b", None],
                "default": None,
                "description": "null means kind",
            },
        ),
        (
            "steps",
            {
                "type": "array",
                "items": {"type": "number", "exclusiveMinimum": 0},
                "minItems": 1,
                "default": [0.1, 1.0],
                "description": "step sizes",
            },
        ),
        (
            "axes",
            {
                "type": ["string", "array", "null"],
                "items": {"type": "string"},
                "default": None,
                "description": "axis, or axes",
            },
        ),
        ("where", {"type": "object", "default": {}, "description": "axis to value"}),
    ],
)
def test_every_type_of_option_has_its_schema(key, expected):
    assert options_schema(Everything)["properties"][key] == expected


def test_options_without_default_are_required():
    assert options_schema(Everything)["required"] == ["count"]


def test_a_misspelt_keyword_is_refused():
    with pytest.raises(TypeError, match="'minmum' is no keyword"):
        Rule("how many", minmum=1)


def test_a_type_that_no_configuration_holds_is_refused():
    @dataclass(frozen=True)
    class Wrong:
        path: set

    with pytest.raises(TypeError, match=r"set.*is no type of an option"):
        options_schema(Wrong)


def test_the_schema_is_valid_and_completes_a_mapping_that_becomes_the_options():
    schema = options_schema(Everything)
    Draft202012Validator.check_schema(schema)
    completed = complete({"count": 2, "size": 0.25}, schema)
    assert read_options(Everything, completed | {"when": "later"}) == Everything(count=2, size=0.25)


@dataclass(frozen=True, kw_only=True)
class Common:
    column: Annotated[str, Rule("measured column")]


@dataclass(frozen=True, kw_only=True)
class Above(Common):
    bound: Annotated[float, Rule("lowest value")]


@dataclass(frozen=True, kw_only=True)
class Shown(Common):
    pass


CHOICES = choices_schema({"above": Above, "shown": Shown}, description="criterion", common=Common)


def test_a_choice_has_its_own_options_beside_the_common_ones():
    assert CHOICES["required"] == ["kind", "column"]
    assert [list(branch["then"]["properties"]) for branch in CHOICES["allOf"]] == [["bound"], []]
    validate({"kind": "above", "column": "loss", "bound": 1}, CHOICES, source="a.yaml")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"kind": "abov", "column": "loss"}, "kind: 'abov' is unknown; allowed: above, shown"),
        ({"kind": "above", "column": "loss"}, "bound: missing; this key is required"),
        (
            {"kind": "shown", "column": "loss", "bound": 1},
            "bound: unknown key; allowed: column, kind",
        ),
        (
            {"kind": "above", "column": "loss", "bound": "x"},
            "bound: 'x' is not allowed; allowed: number",
        ),
    ],
)
def test_a_mistake_in_a_choice_is_named(entry, problem):
    with pytest.raises(ConfigurationError, match=f"a.yaml: {problem}"):
        validate(entry, CHOICES, source="a.yaml")
