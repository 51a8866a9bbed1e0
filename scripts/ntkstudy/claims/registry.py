"""The registry of criteria: what a claim may say of one, and the function that judges it.

A criterion is a dataclass of its options and a function of those and a sample, in one file:

    @dataclass(frozen=True, kw_only=True)
    class Above(Criterion):
        along: Annotated[str, Rule("axis at whose every point the bound holds")]
        bound: Annotated[float, Rule("lowest value allowed")]

    @criterion("above", options=Above, allowed="above {bound:g} everywhere")
    def above(options: Above, sample: Sample) -> Outcome: ...

The schema of claims and the list in docs/configuration.md follow from it.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal

from ..options import Rule, choices_schema
from ..registry import Registry
from .uncertainty import Interval


@dataclass(frozen=True)
class Outcome:
    """A judged number, the interval that decides, and the status that follows from it.

    The status is `holds` where the interval lies inside what is allowed, `fails` where it lies
    outside, `straddles` otherwise, or `measured` of a number that is not judged.
    """

    value: float | None
    interval: Interval | None
    status: str
    intervals: int = 1  # how many the status hangs on, one a point or a step


# Changes that a claim can ask for by name; they are made in `changes`.
CHANGES = ("sign", "sides", "reversed", "scaled", "spread")
_ROWS = ("table", "column", "where", "relative_to", "value")


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """What every criterion says."""

    description: Annotated[str, Rule("what is measured, with its symbol")]
    name: Annotated[
        str | None,
        Rule("what texts of the claim call it, as in {name.value}", pattern="^[a-z][a-z0-9-]*$"),
    ] = None
    table: Annotated[str, Rule("a table of the experiment")]
    column: Annotated[str, Rule("measured column")]
    where: Annotated[
        dict[str, Any], Rule("rows to take: axis to value, to min or max, or to [lowest, highest]")
    ] = field(default_factory=dict)
    relative_to: Annotated[
        dict[str, Any] | None, Rule("divide, seed by seed, by the rows with these values instead")
    ] = None
    over: Annotated[str | None, Rule("axis of the repetitions in place of seed, as data_seed")] = (
        None
    )
    counts: Annotated[
        str | None,
        Rule("what the repetitions are; left out, networks, splits (data_seed) or images (sample)"),
    ] = None
    unit: Annotated[str, Rule("unit of the number; 1 for a pure number")] = "1"
    control: Annotated[
        dict[str, Any] | None,
        Rule(
            "what must not pass in its place; by default the change that the kind has",
            properties={
                "change": {"type": "string", "enum": list(CHANGES)},
                "of": {"type": "string", "description": "what stands in its place, in words"},
                "table": {"type": "string"},
                "column": {"type": "string"},
                "where": {"type": "object"},
                "relative_to": {"type": "object"},
                "value": {"type": "number", "description": "what a null model gives everywhere"},
                "cannot_fail": {"type": "string", "description": "why nothing could make it fail"},
            },
            additionalProperties=False,
            minProperties=1,
            dependentRequired={key: ["of"] for key in _ROWS},
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class WithStatistic(Criterion):
    """A criterion on a statistic of the caller's choice."""

    statistic: Annotated[
        Literal["mean", "geometric mean", "median", "share", "std", "dispersion"],
        Rule("over seeds; share: of ones among zeros and ones; dispersion: ln(E[v^2] / E[v]^2)"),
    ] = "mean"


@dataclass(frozen=True)
class Kind:
    """A registered criterion."""

    name: str
    module: str
    options: type[Criterion]
    judge: Callable[..., Outcome]
    allowed: str  # a format of the options
    trend: bool

    def describe_allowed(self, options: Criterion) -> str:
        """What a criterion with these options allows, in words."""
        return self.allowed.format(**asdict(options))


CRITERIA: Registry[Kind] = Registry("criteria.kind")


def criterion(
    name: str, *, options: type[Criterion], allowed: str, trend: bool = False
) -> Callable[[Callable[..., Outcome]], Callable[..., Outcome]]:
    """Register a function of options and a sample as a kind of criterion.

    Args:
        name: `kind` of the criterion in claims.
        options: dataclass of its options.
        allowed: what it allows, in words for the report; `{bound:g}` is the option `bound`.
        trend: whether it compares points of the axis `along`, so that it needs two.

    Raises:
        ConfigurationError: if another module has registered the name.
    """

    def register(judge: Callable[..., Outcome]) -> Callable[..., Outcome]:
        CRITERIA.add(Kind(name, judge.__module__, options, judge, allowed, trend))
        return judge

    return register


def criterion_schema() -> dict[str, Any]:
    """JSON schema of one criterion of any registered kind."""
    choices = {name: kind.options for name, kind in CRITERIA.items()}
    return choices_schema(choices, description="how the number is judged", common=Criterion)


def own_options(options: type[Criterion]) -> list[str]:
    """Names of the options that not every criterion has."""
    common = {each.name for each in fields(Criterion)}
    return [each.name for each in fields(options) if each.name not in common]
