"""Regression with the limit kernel on all training rows, with options chosen on rows held out."""

from dataclasses import dataclass
from typing import Annotated

from ..needs import LABELS
from ..options import Rule
from ..registry import measurement
from .common import Ridges


@dataclass(frozen=True, kw_only=True)
class ChosenRegressionOptions(Ridges):
    """What is chosen from, on how many rows, and how exactly all rows are fitted."""

    depths: Annotated[
        list[Annotated[int, Rule(minimum=1)]],
        Rule("candidates for the number of hidden ReLU layers", minItems=1, uniqueItems=True),
    ]
    sigma_bs: Annotated[
        list[Annotated[float, Rule(minimum=0)]],
        Rule("candidates for the standard deviation of biases", minItems=1, uniqueItems=True),
    ]
    sigma_w: Annotated[float, Rule("standard deviation of the weights", exclusiveMinimum=0)] = (
        2**0.5
    )
    choosing_rows: Annotated[
        int, Rule("first training rows, that the choice is made on", minimum=2)
    ]
    held_out: Annotated[
        float,
        Rule("share of these that judges", exclusiveMinimum=0, exclusiveMaximum=1),
    ] = 0.25
    compared_rows: Annotated[
        int,
        Rule("first training rows, on which both solutions are made and compared", minimum=2),
    ]
    tolerance: Annotated[
        float, Rule("of the relative residual of every output", exclusiveMinimum=0)
    ] = 1e-6


@measurement(
    "chosen_regression",
    when="limit",
    options=ChosenRegressionOptions,
    axes=("depth", "sigma_b", "ridge"),
    needs=(LABELS,),
    kernel="stored",
)
def chosen_regression(options, limit, data):
    """Held-out errors of every candidate; accuracy, time, memory and residual with the best.

    Networks have the candidates' depths and biases, not those of the cell. Numbers of the fit to
    all rows stand beside every candidate, of which `chosen` marks one; test rows are read by that
    fit alone.
    """
    from ..theory.chosen_regression import chosen_regression

    return chosen_regression(options, limit, data)
