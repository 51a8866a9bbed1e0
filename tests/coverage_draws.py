"""Draws with a known truth, and how often an interval holds it."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import yaml

from ntkstudy.claims.uncertainty import (
    LEAST,
    interval,
    linear_interval,
    log_estimate,
    mean_estimate,
)

CLAIMS = Path(__file__).parents[1] / "config" / "claims"
DISTRIBUTIONS: dict[str, Callable] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "t, 5 degrees": lambda rng, shape: rng.standard_t(5, shape),
    "lognormal(.5)": lambda rng, shape: np.exp(0.5 * rng.standard_normal(shape)),
    "lognormal(1)": lambda rng, shape: np.exp(rng.standard_normal(shape)),
}
CALM = tuple(DISTRIBUTIONS)[:3]


@cache
def numbers_in_use() -> list[int]:
    """Every number of seeds that a claim of the project asks for."""
    claims = [
        claim
        for file in CLAIMS.glob("*.yaml")
        for claim in yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader)["claims"]
    ]
    return sorted({claim.get("requires", {}).get("seeds", 2) for claim in claims})


def truth(name: str, statistic: str) -> float | None:
    """The statistic of a distribution; None of a logarithm that is not defined."""
    if name in ("normal", "t, 5 degrees"):
        spread = {"normal": 1.0, "t, 5 degrees": np.sqrt(5 / 3)}[name]
        return {"mean": 0.0, "median": 0.0, "std": spread}.get(statistic)
    square = {"lognormal(.5)": 0.25, "lognormal(1)": 1.0}[name]
    mean = np.exp(square / 2)
    return {
        "mean": mean,
        "median": 1.0,
        "geometric mean": 1.0,
        "std": mean * np.sqrt(np.exp(square) - 1),
        "dispersion": square,
    }[statistic]


def attained(judge: Callable, repetitions: int, seed: int = 0) -> float:
    """Share of repetitions in which an interval holds its truth.

    Args:
        judge: function of a generator that returns the two ends and the truth.
        repetitions: how many.
        seed: of the generator.
    """
    rng = np.random.default_rng(seed)
    ends = [judge(rng) for _ in range(repetitions)]
    return float(np.mean([low <= known <= high for low, high, known in ends]))


def of_statistic(name: str, statistic: str, n: int) -> Callable:
    """Interval of a statistic of n draws."""
    known, draw = truth(name, statistic), DISTRIBUTIONS[name]
    return lambda rng: (*interval(draw(rng, n), statistic).ends, known)


def of_difference(name: str, n: int, others: int, scale: float) -> Callable:
    """Welch's interval of the mean of `others` scaled draws minus that of n."""
    known, draw = (scale - 1) * truth(name, "mean"), DISTRIBUTIONS[name]
    weights = np.array([-1.0, 1.0])

    def judge(rng: np.random.Generator) -> tuple[float, float, float]:
        pair = [mean_estimate(draw(rng, n)), mean_estimate(scale * draw(rng, others))]
        return *linear_interval(pair, weights).ends, known

    return judge


def of_slope(statistic: str, n: int, spread: float) -> Callable:
    """Slope, 0, of the logarithm of a statistic of n lognormal draws at each of four widths."""
    weights = np.log([64, 256, 1024, 4096]) - np.log([64, 256, 1024, 4096]).mean()
    weights = weights / (weights**2).sum()

    def judge(rng: np.random.Generator) -> tuple[float, float, float]:
        samples = [np.exp(spread * rng.standard_normal(n)) for _ in weights]
        estimates = [log_estimate(sample, statistic) for sample in samples]
        return *linear_interval(estimates, weights).ends, 0.0

    return judge


def covered(statistic: str) -> list[int]:
    """Numbers of draws in use at which a statistic has an interval."""
    return [n for n in numbers_in_use() if n >= LEAST[statistic]]
