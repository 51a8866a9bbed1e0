"""Tables under which a claim would have been reproduced, made from others by changing few values.

The criteria that do not hold are mended one after the other, each by values that its kind registers
here, until all hold together. So a verdict against a claim is known to be one that could have come
out otherwise, and a claim can be tried before anything was run.
"""

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ..options import read_options
from .changes import constant
from .registry import CRITERIA, Criterion
from .samples import AbsentError, Sample

# What is left, in each round, of the spread over draws around the values that are asked for.
SPREADS = (1.0, 0.1, 0.01, 0.0, 0.0, 0.0)
_ROW = "row of the table"

Wanted = list[np.ndarray]
WANTED: dict[str, Callable[[Any, Sample, float], Wanted]] = {}


def mended_by(*kinds: str) -> Callable:
    """Register a function of options, sample and spread that gives values for which a kind holds.

    Args:
        kinds: names of criteria. The spread is the part to keep of what draws differ by.
    """

    def register(wanted: Callable[[Any, Sample, float], Wanted]) -> Callable:
        WANTED.update(dict.fromkeys(kinds, wanted))
        return wanted

    return register


def mend(
    criteria: Sequence[Mapping[str, Any]],
    requires: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
) -> Mapping[str, pd.DataFrame] | None:
    """Tables for which all criteria hold, or None where none were found.

    Args:
        criteria: entries of a claim.
        requires: what the claim requires.
        tables: with all the rows and columns that the criteria need.
    """
    mended = ChainMap({}, tables)  # what is not mended is not read
    for spread in SPREADS:
        failing = 0
        for criterion in criteria:
            kind = CRITERIA[criterion["kind"]]
            options = read_options(kind.options, criterion)
            try:
                sample = Sample.read(options, requires, mended, trend=kind.trend)
                if kind.judge(options, sample).status == "holds":
                    continue
                if criterion["kind"] not in WANTED:
                    return None
                failing += 1
                wanted = WANTED[criterion["kind"]](options, sample, spread)
                changed = _write(mended[options.table], options, sample, wanted, requires)
            except AbsentError:
                return None
            if changed is None:
                return None
            mended[options.table] = changed
        if not failing:
            return mended
    return None


def _write(
    table: pd.DataFrame, options: Criterion, sample: Sample, wanted: Wanted, requires: Mapping
) -> pd.DataFrame | None:
    """The table with other values in the rows of a sample; None where its rows cannot be told.

    With `relative_to` the values are ratios, and what is divided by stays.
    """
    numbered = {options.table: table.assign(**{_ROW: np.arange(len(table), dtype=float)})}
    own = replace(options, relative_to=None)
    numbers = Sample.read(replace(own, column=_ROW), requires, numbered).values
    sides = Sample.read(own, requires, {options.table: table}).values
    if [len(one) for one in numbers] != [len(one) for one in sample.values]:
        return None
    column = table[options.column].to_numpy(dtype=float, copy=True)
    for rows, side, old, new in zip(numbers, sides, sample.values, wanted, strict=True):
        scale = side / old if options.relative_to is not None else 1.0
        column[rows.astype(int)] = new * scale
    return table.assign(**{options.column: column})


def _around(values: np.ndarray, mean: float, spread: float) -> np.ndarray:
    """Draws around another mean; those of one sign are multiplied, others are shifted."""
    old = values.mean()
    if not np.isfinite(old):
        return np.full(len(values), float(mean))
    if old * mean > 0:
        return mean * (1 + spread * (values / old - 1))
    return mean + spread * (values - old)


def _means(sample: Sample) -> np.ndarray:
    return np.array([values.mean() for values in sample.values])


def _moved(sample: Sample, means: np.ndarray, spread: float) -> Wanted:
    return [_around(v, float(m), spread) for v, m in zip(sample.values, means, strict=True)]


def _dispersed(values: np.ndarray, dispersion: float) -> np.ndarray:
    """Two numbers in turn with a dispersion ln(E[v^2] / E[v]^2), around the mean of the draws."""
    pattern = (-1.0) ** np.arange(len(values))
    pattern -= pattern.mean()
    return abs(values.mean()) * (1 + np.sqrt(np.expm1(dispersion)) * pattern / pattern.std())


def _pattern(values: np.ndarray) -> np.ndarray:
    """Their deviations from the mean, or evenly spaced ones if they have none."""
    off = values - values.mean()
    return off if off.std() > 0 else np.linspace(-1.0, 1.0, len(values))


def _inside(lower: float, upper: float) -> float:
    """A number well inside a range: 0 if it can be, else between the ends."""
    if lower < 0 < upper:
        return 0.0
    if lower > 0 and upper > 4 * lower:
        return float(np.sqrt(lower * upper))
    return (lower + upper) / 2


@mended_by("within")
def _within(options: Any, sample: Sample, spread: float) -> Wanted:
    aim = _inside(*options.range)
    if options.statistic == "share":
        return constant(options, sample, options.range[1])
    if options.statistic == "dispersion":
        return [_dispersed(values, aim) for values in sample.values]
    if options.statistic == "std":
        found = [(v.mean(), _pattern(v)) for v in sample.values]
        return [mean + aim * off / off.std(ddof=1) for mean, off in found]
    return _moved(sample, np.full(len(sample.values), aim), spread)


@mended_by("matches")
def _matches(options: Any, sample: Sample, spread: float) -> Wanted:
    return _moved(sample, np.array([value for _, value in sorted(options.expected)]), spread)


@mended_by("slope")
def _slope(options: Any, sample: Sample, spread: float) -> Wanted:
    points = sample.points.astype(float) / float(sample.points[0])
    power = (options.range[0] + options.range[1]) / 2
    laws = points**power
    if options.statistic == "dispersion":
        return [_dispersed(v, 1e-2 * law) for v, law in zip(sample.values, laws, strict=True)]
    if options.statistic == "std":
        size = max(sample.values[0].std(), 1e-3 * abs(sample.values[0].mean()))
        spreads = [size * law for law in laws]
        patterns = [_pattern(values) for values in sample.values]
        return [
            values.mean() + each * off / off.std()
            for values, each, off in zip(sample.values, spreads, patterns, strict=True)
        ]
    first = abs(sample.values[0].mean()) or 1.0
    return _moved(sample, first * laws, spread)


@mended_by("intercept")
def _intercept(options: Any, sample: Sample, spread: float) -> Wanted:
    aim, powers = _inside(*options.range), sample.points.astype(float) ** options.power
    return _moved(sample, aim + 0.1 * abs(aim) * powers / powers.max(), spread)


@mended_by("linear")
def _linear(options: Any, sample: Sample, spread: float) -> Wanted:
    first = abs(sample.values[0].mean()) or 1.0
    return _moved(sample, first * sample.points.astype(float) / float(sample.points[0]), spread)


@mended_by("consistent", "draw")
def _expected(options: Any, sample: Sample, spread: float) -> Wanted:
    return _moved(sample, np.full(len(sample.values), options.expected), spread)


@mended_by("agrees")
def _agrees(options: Any, sample: Sample, spread: float) -> Wanted:
    pairs = list(zip(sample.values, np.asarray(sample.expected), strict=True))
    if options.statistic == "dispersion":
        return [_dispersed(values, float(expected)) for values, expected in pairs]
    return [_around(values, float(expected), spread) for values, expected in pairs]


@mended_by("rank")
def _rank(options: Any, sample: Sample, spread: float) -> Wanted:
    places = np.argsort(np.argsort(np.asarray(sample.expected)))
    return _moved(sample, 2.0**places, spread)


@mended_by("above")
def _above(options: Any, sample: Sample, spread: float) -> Wanted:
    means, aim = _means(sample), options.bound + 0.5 * abs(options.bound) or 1.0
    ratios = means / means.min() if means.min() > 0 and aim > 0 else np.ones(len(means))
    return _moved(sample, aim * ratios, spread)


@mended_by("below")
def _below(options: Any, sample: Sample, spread: float) -> Wanted:
    means, aim = _means(sample), options.bound - 0.5 * abs(options.bound) or -1.0
    ratios = means / means.max() if means.min() > 0 and aim > 0 else np.ones(len(means))
    return _moved(sample, aim * ratios, spread)


@mended_by("decreasing")
def _decreasing(options: Any, sample: Sample, spread: float) -> Wanted:
    return _moved(sample, _rising(_means(sample)[::-1])[::-1], spread)


@mended_by("increasing")
def _increasing(options: Any, sample: Sample, spread: float) -> Wanted:
    return _moved(sample, _rising(_means(sample)), spread)


def _rising(means: np.ndarray, factor: float = 1.3) -> np.ndarray:
    """The same numbers, each lifted where it is not well above the one before."""
    risen, step = means.copy(), (factor - 1) * (max(abs(means)) or 1.0)
    for place in range(1, len(means)):
        before = risen[place - 1]
        risen[place] = max(risen[place], before * factor if before > 0 else before + step)
    return risen


@mended_by("dip")
def _dip(options: Any, sample: Sample, spread: float) -> Wanted:
    size = max(abs(_means(sample))) or 1.0
    return _moved(sample, np.where(sample.points == options.at, size / 2, size), spread)


@mended_by("signed")
def _signed(options: Any, sample: Sample, spread: float) -> Wanted:
    size = max(abs(_means(sample))) or 1.0
    return _moved(sample, np.full(len(sample.values), size), spread)
