"""Kernel regression against the number of training rows: predicted by the spectrum, measured."""

from dataclasses import dataclass
from typing import Annotated

from ..needs import LABELS
from ..options import Rule
from ..registry import measurement
from .common import Draws, Ridges


@dataclass(frozen=True, kw_only=True)
class LearningCurveOptions(Draws, Ridges):
    """Sizes of the pool and of the training sets."""

    pool: Annotated[
        int,
        Rule("M, rows whose kernel predicts; training rows are drawn from them", minimum=4),
    ]
    sizes: Annotated[
        list[Annotated[int, Rule(minimum=1)]],
        Rule("n, numbers of training rows", minItems=1, uniqueItems=True),
    ]
    training_sets: Annotated[
        int, Rule("training sets of each size in a pool, whose errors are averaged", minimum=1)
    ] = 4
    leading: Annotated[
        float,
        Rule(
            "share of the pool's modes before the fitted tail",
            exclusiveMinimum=0,
            exclusiveMaximum=1,
        ),
    ] = 0.0125


@measurement(
    "learning_curve",
    when="limit",
    options=LearningCurveOptions,
    axes=("seed", "ridge", "n"),
    needs=(LABELS,),
    kernel="mean",
)
def learning_curve(options, limit, data):
    """Squared error and learnability of kernel regression on n rows, predicted and measured.

    Predicted from the kernel's spectrum on a pool. For each draw all rows of the task, training and
    evaluation ones, are divided anew into a pool and fresh rows. Targets are one-hot, less their
    mean over the pool.
    """
    from ..theory.learning_curve import learning_curve

    return learning_curve(options, limit, data)
