"""Judge claims from tables: a verdict follows from criteria, each with its uncertainty over seeds.

A criterion reduces a table to one number per group of seeds (or one per value of an axis), gives it
a 95 % interval, and compares the interval with what the claim allows: it *holds* if the interval
lies inside, *fails* if it lies outside, and *straddles* a bound otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .errors import ConfigurationError

LEVEL = 0.95
RESAMPLES = 2000
_STATISTICS: dict[str, Callable[..., np.ndarray]] = {
    "mean": np.mean,
    "median": np.median,
    "std": lambda values, axis: np.std(values, axis=axis, ddof=1),
}


@dataclass(frozen=True)
class Judgement:
    """One criterion judged: the number, its interval, what was allowed, and the status."""

    role: str
    kind: str
    description: str
    value: float | None
    low: float | None
    high: float | None
    allowed: str
    n_seeds: int | None
    status: str  # holds, fails, straddles or absent
    note: str = ""


class _AbsentError(Exception):
    """What a criterion needs was not run; the message says what."""


def judge_claim(claim: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Judge one claim.

    Args:
        claim: an entry of claims.yaml.
        tables: the tables of the claim's experiment by name; empty if it was not run.

    Returns:
        The claim's texts with `verdict`, `reason`, `measured` and `criteria` added.
    """
    judged = [
        judge_criterion(criterion, role, claim.get("requires", {}), tables)
        for role in ("observation", "explanation", "correction")
        for criterion in claim["criteria"].get(role, [])
    ]
    verdict, reason = decide(judged)
    return {
        "id": claim["id"],
        "source": claim["source"],
        "section": claim["section"],
        "experiment": claim["experiment"],
        "statement": claim["statement"],
        "published": claim["published"],
        "measured": summarise(judged),
        "verdict": verdict,
        "reason": reason,
        "flags": list(claim.get("flags", [])),
        "criteria": [asdict(one) for one in judged],
        "explanation": claim["explanation"],
        "figures": list(claim.get("figures", [])),
    }


def decide(judged: Sequence[Judgement]) -> tuple[str, str]:
    """Verdict and reason from the criteria.

    Anything absent: not run. Observation fails: contradicted. Explanation fails and correction
    holds: corrected; without a correction that holds: contradicted. All hold: reproduced. An
    interval across a bound where the verdict hangs on it: inconclusive.
    """
    absent = [one.note for one in judged if one.status == "absent"]
    if absent:
        return "not run", absent[0]
    observation, explanation, correction = (
        _combine(one.status for one in judged if one.role == role)
        for role in ("observation", "cause", "correction")
    )
    if observation == "fails":
        return "contradicted", "the observation does not appear"
    if observation == "straddles" or explanation == "straddles":
        return "inconclusive", "an interval straddles its bound"
    if explanation == "holds":
        return "reproduced", ""
    if not any(one.role == "correction" for one in judged) or correction == "fails":
        return "contradicted", "the observation appears, its explanation fails"
    if correction == "straddles":
        return "inconclusive", "the correction's interval straddles its bound"
    return "corrected", "the observation appears, its explanation fails, the correction holds"


def _combine(statuses) -> str:
    found = set(statuses)
    return next((status for status in ("fails", "straddles") if status in found), "holds")


def summarise(judged: Sequence[Judgement]) -> str:
    """Measured numbers of a claim in one line."""
    parts = []
    for one in judged:
        if one.value is None:
            continue
        text = f"{one.value:.4g}"
        if one.low is not None and one.high is not None:
            text += f" [{one.low:.4g}, {one.high:.4g}]"
        parts.append(f"{one.description}: {text}")
    return "; ".join(parts)


def judge_criterion(
    criterion: Mapping[str, Any],
    role: str,
    requires: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
) -> Judgement:
    """Judge one criterion; what is missing makes it absent, with the reason in its note."""
    texts = dict(role=role, kind=criterion["kind"], description=criterion["description"])
    try:
        sample = _Sample.read(criterion, requires, tables)
    except _AbsentError as reason:
        return Judgement(
            **texts, value=None, low=None, high=None, allowed=_allowed(criterion),
            n_seeds=None, status="absent", note=str(reason),
        )  # fmt: skip
    value, low, high, status = _KINDS[criterion["kind"]](criterion, sample)
    return Judgement(
        **texts, value=value, low=low, high=high, allowed=_allowed(criterion),
        n_seeds=sample.n_seeds, status=status, note=sample.note,
    )  # fmt: skip


@dataclass(frozen=True)
class _Sample:
    """Values of a criterion: one array over seeds per point of the axis it runs along."""

    points: np.ndarray
    values: list[np.ndarray]
    note: str

    @property
    def n_seeds(self) -> int:
        return min(len(values) for values in self.values)

    @staticmethod
    def read(criterion, requires, tables) -> "_Sample":
        name = criterion["table"]
        if name not in tables:
            raise _AbsentError(f"table {name} was not made at this scale")
        table = tables[name]
        _require_points(table, requires)
        along, where = criterion.get("along"), criterion.get("where", {})
        keys = [along, "seed"] if along else ["seed"]
        series = _select(table, criterion["column"], where, keys)
        if "relative_to" in criterion:
            series = series / _select(
                table, criterion["column"], where | criterion["relative_to"], keys
            )
        finite = series[np.isfinite(series)]
        lost = len(series) - len(finite)
        note = f"{lost} diverged networks are left out" if lost else ""
        groups = finite.groupby(level=along) if along else [(0, finite)]
        points, values = zip(*((point, group.to_numpy()) for point, group in groups), strict=True)
        sample = _Sample(np.array(points), list(values), note)
        if sample.n_seeds < requires.get("seeds", 1):
            raise _AbsentError(f"needs {requires['seeds']} seeds, this scale has {sample.n_seeds}")
        return sample


def _require_points(table: pd.DataFrame, requires: Mapping[str, Any]) -> None:
    for column, points in requires.items():
        if column != "seeds":
            have = set(table[column]) if column in table else set()
            missing = [point for point in points if point not in have]
            if missing:
                raise _AbsentError(f"needs {column} {', '.join(map(str, missing))}, not run here")


def _select(
    table: pd.DataFrame, column: str, where: Mapping[str, Any], keys: list[str]
) -> pd.Series:
    """Column of the rows that match `where`, indexed by `keys`, which must tell them apart."""
    for name, wanted in where.items():
        wanted = getattr(table[name], wanted)() if wanted in ("min", "max") else wanted
        table = table[np.isclose(table[name], wanted)]
    if table.empty:
        raise _AbsentError(f"no rows with {dict(where)} in the table")
    series = table.set_index(keys)[column]
    if series.index.has_duplicates:
        raise ConfigurationError(
            f"claims: column {column!r}: {dict(where)} leaves several rows per "
            f"{' and '.join(keys)}; allowed: a `where` that leaves one"
        )
    return series


# Uncertainty over seeds


def bootstrap_interval(sample: np.ndarray, statistic: str) -> tuple[float, float]:
    """95 % interval of a statistic over seeds; see `_interval`."""
    draws = _resample(sample, statistic)
    return _interval(draws, len(sample))


def _resample(sample: np.ndarray, statistic: str) -> np.ndarray:
    """Bootstrap distribution of a statistic, (RESAMPLES,), the same every time."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(len(sample), size=(RESAMPLES, len(sample)))
    return _STATISTICS[statistic](sample[chosen], axis=1)


def _interval(draws: np.ndarray, n_seeds: int) -> tuple[float, float]:
    """Percentile interval, widened for few seeds.

    The tail probability is Phi(-sqrt(n/(n-1)) t_{n-1}) instead of 2.5 %, which corrects the
    percentile bootstrap's shortness (Hesterberg 2015, The American Statistician 69, section 5.1).
    """
    if n_seeds < 2:
        return -inf, inf
    tail = (1 - LEVEL) / 2
    quantile = stats.t.ppf(tail, n_seeds - 1) * np.sqrt(n_seeds / (n_seeds - 1))
    tail = stats.norm.cdf(quantile)
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


# Criteria


def _inside(low: float, high: float, lower: float, upper: float) -> str:
    if lower <= low and high <= upper:
        return "holds"
    return "fails" if high < lower or low > upper else "straddles"


def _statistic(criterion) -> str:
    return criterion.get("statistic", "mean")


def _within(criterion, sample: _Sample):
    """The statistic lies in the allowed range."""
    [values] = sample.values
    low, high = bootstrap_interval(values, _statistic(criterion))
    value = float(_STATISTICS[_statistic(criterion)](values, axis=0))
    return value, low, high, _inside(low, high, *criterion["range"])


def _slope(criterion, sample: _Sample):
    """The statistic is a power law along an axis: slope in log-log axes in the allowed range."""
    name = _statistic(criterion)
    log_points = np.log(sample.points.astype(float))
    weights = log_points - log_points.mean()
    weights = weights / (weights**2).sum()
    exact = np.array([_STATISTICS[name](values, axis=0) for values in sample.values])
    draws = np.stack([_resample(values, name) for values in sample.values])
    low, high = _interval(weights @ np.log(draws), sample.n_seeds)
    return float(weights @ np.log(exact)), low, high, _inside(low, high, *criterion["range"])


def _consistent(criterion, sample: _Sample):
    """The mean over seeds is within so many standard errors of the expected value."""
    [values] = sample.values
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    reach = criterion["standard_errors"] * error
    status = "holds" if abs(mean - criterion["expected"]) <= reach else "fails"
    return float(mean), float(mean - reach), float(mean + reach), status


def _above(criterion, sample: _Sample):
    """The mean over seeds is above a bound at every point; the lowest mean is reported."""
    means = [values.mean() for values in sample.values]
    lowest = int(np.argmin(means))
    intervals = [bootstrap_interval(values, "mean") for values in sample.values]
    statuses = [_inside(low, high, criterion["bound"], inf) for low, high in intervals]
    return float(means[lowest]), *intervals[lowest], _combine(statuses)


def _decreasing(criterion, sample: _Sample):
    """The mean falls from each point to the next; the largest step (the least fall) is reported."""
    means = np.array([values.mean() for values in sample.values])
    draws = np.stack([_resample(values, "mean") for values in sample.values])
    intervals = [_interval(step, sample.n_seeds) for step in np.diff(draws, axis=0)]
    statuses = [_inside(low, high, -inf, 0.0) for low, high in intervals]
    largest = int(np.argmax(np.diff(means)))
    return float(np.diff(means)[largest]), *intervals[largest], _combine(statuses)


_KINDS = {
    "within": _within,
    "slope": _slope,
    "consistent": _consistent,
    "above": _above,
    "decreasing": _decreasing,
}


def _allowed(criterion: Mapping[str, Any]) -> str:
    match criterion["kind"]:
        case "within" | "slope":
            return f"{criterion['range'][0]:g} to {criterion['range'][1]:g}"
        case "consistent":
            return (
                f"{criterion['expected']:g} within {criterion['standard_errors']:g} standard errors"
            )
        case "above":
            return f"above {criterion['bound']:g} everywhere"
    return f"decreasing along {criterion['along']}"
