"""Changes of a sample under which a criterion that holds must not hold again.

Most kinds have one: an axis is reversed, never shuffled, so that nothing is left to chance. A kind
from outside the package registers its own:

    @changed_by("halves")
    def _halves(options: Halves, sample: Sample) -> Changed:
        return REVERSED(sample)
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .registry import Criterion
from .samples import Sample

Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Change:
    """What is done to a sample, in words, and the values that it gives: one list or several."""

    words: str
    values: Callable[[Sample], list[Arrays]]

    def __call__(self, sample: Sample) -> tuple[str, list[Sample]]:
        """Words, and the changed samples, none of which may pass."""
        return self.words, [replace(sample, values=each) for each in self.values(sample)]


def _scaled(sample: Sample, *factors: float) -> list[Arrays]:
    return [[factor * values for values in sample.values] for factor in factors]


def _spread(sample: Sample, *factors: float) -> list[Arrays]:
    return [[v.mean() + factor * (v - v.mean()) for v in sample.values] for factor in factors]


def _tilted(sample: Sample, *powers: float) -> list[Arrays]:
    points = sample.points.astype(float) / float(sample.points[0])
    return [
        [point**power * v for point, v in zip(points, sample.values, strict=True)]
        for power in powers
    ]


def _spread_tilted(sample: Sample, *powers: float) -> list[Arrays]:
    return [
        [old.mean() + new - new.mean() for old, new in zip(sample.values, each, strict=True)]
        for each in _tilted(sample, *powers)
    ]


def _with_alternating_signs(sample: Sample) -> list[Arrays]:
    return [[values * (-1.0) ** np.arange(len(values)) for values in sample.values]]


REVERSED = Change("axis reversed", lambda sample: [sample.values[::-1]])
SCALED = Change("column doubled, and halved", lambda sample: _scaled(sample, 2.0, 0.5))
SPREAD = Change("spread doubled, and halved", lambda sample: _spread(sample, 2.0, 0.5))
NEGATED = Change("sign changed", lambda sample: _scaled(sample, -1.0))
EXCHANGED = Change(
    "sides of the comparison exchanged", lambda sample: [[1 / values for values in sample.values]]
)
TILTED = Change("column times its axis, and over it", lambda sample: _tilted(sample, 1.0, -1.0))
SPREAD_TILTED = Change(
    "spread times its axis, and over it", lambda sample: _spread_tilted(sample, 1.0, -1.0)
)
SQUARED = Change("column times its axis", lambda sample: _tilted(sample, 1.0))
TURNED = Change(
    "points moved on by one place", lambda sample: [[sample.values[-1], *sample.values[:-1]]]
)
OTHERS = Change(
    "ones and zeros exchanged", lambda sample: [[1 - values for values in sample.values]]
)
MIXED = Change("sign changed in every second draw", _with_alternating_signs)

# Those that a claim can ask for by name.
NAMED: dict[str, Change] = {
    "sign": NEGATED,
    "sides": EXCHANGED,
    "reversed": REVERSED,
    "scaled": SCALED,
    "spread": SPREAD,
}

Changed = tuple[str, list[Sample]] | None
OF_KINDS: dict[str, Callable[[Any, Sample], Changed]] = {}


def changed_by(*kinds: str) -> Callable:
    """Register a function of options and sample that gives a kind's change, or None if it has none.

    Args:
        kinds: names of criteria.
    """

    def register(change: Callable[[Any, Sample], Changed]) -> Callable[[Any, Sample], Changed]:
        OF_KINDS.update(dict.fromkeys(kinds, change))
        return change

    return register


def change_of(kind: str, options: Criterion, sample: Sample) -> Changed:
    """The automatic change of a kind with these options; None where a claim must name a control."""
    return OF_KINDS[kind](options, sample) if kind in OF_KINDS else None


def constant(options: Criterion, sample: Sample, value: float) -> Arrays:
    """One number in place of all draws; of a share, as many ones as make it."""
    if getattr(options, "statistic", "mean") == "share":
        return [
            (np.arange(len(values)) < round(value * len(values))).astype(float)
            for values in sample.values
        ]
    return [np.full(len(values), value) for values in sample.values]


@changed_by("decreasing", "increasing", "rank")
def _reversed(options: Criterion, sample: Sample) -> Changed:
    return REVERSED(sample)


@changed_by("slope")
def _slope(options: Any, sample: Sample) -> Changed:
    """Reversal changes the sign of a slope, which says nothing where both signs are allowed."""
    lower, upper = options.range
    if not lower < 0 < upper:
        return REVERSED(sample)
    tilted = SPREAD_TILTED if options.statistic == "dispersion" else TILTED
    return tilted(sample) if upper - lower < 1 else None


@changed_by("linear")
def _linear(options: Criterion, sample: Sample) -> Changed:
    return SQUARED(sample)


@changed_by("matches", "consistent", "draw")
def _expected(options: Criterion, sample: Sample) -> Changed:
    return SCALED(sample)


@changed_by("agrees")
def _agrees(options: Any, sample: Sample) -> Changed:
    return _scaling(options, sample)


@changed_by("within", "intercept")
def _within(options: Any, sample: Sample) -> Changed:
    """Doubled and halved, where no number in the range has its double or its half in it too."""
    near, far = sorted(map(abs, options.range))
    narrow = options.range[0] * options.range[1] > 0 and far < 2 * near
    return _scaling(options, sample) if narrow else None


@changed_by("above", "below")
def _bound(options: Criterion, sample: Sample) -> Changed:
    return EXCHANGED(sample) if options.relative_to is not None else None


@changed_by("dip")
def _dip(options: Criterion, sample: Sample) -> Changed:
    return TURNED(sample)


@changed_by("signed")
def _signed(options: Criterion, sample: Sample) -> Changed:
    return MIXED(sample)


def _scaling(options: Any, sample: Sample) -> Changed:
    """A dispersion has no scale, a share none but its own."""
    others = {"dispersion": SPREAD, "share": OTHERS}
    return others.get(getattr(options, "statistic", "mean"), SCALED)(sample)
