"""Theory: the recursion of the limit kernel, where it is positive definite, what kernels cost."""

from dataclasses import dataclass, field
from typing import Annotated

from ..needs import CIRCLE, NTK, RELU
from ..options import Rule
from ..registry import measurement
from .common import Draws


@dataclass(frozen=True, kw_only=True)
class DefinitenessOptions(Draws):
    """Size of the networks."""

    width: Annotated[int, Rule("neurons per hidden layer", minimum=1)] = 256


@dataclass(frozen=True, kw_only=True)
class CostOptions(Draws):
    """Sizes of the kernels."""

    sizes: Annotated[
        list[Annotated[int, Rule(minimum=1)]], Rule("numbers N of inputs", minItems=2)
    ] = field(default_factory=lambda: [512, 1024, 2048, 4096])


@dataclass(frozen=True, kw_only=True)
class StepCostOptions(Draws):
    """Networks whose gradients are taken."""

    widths: Annotated[
        list[Annotated[int, Rule(minimum=1)]],
        Rule("neurons per hidden layer; there are two such layers", minItems=2),
    ] = field(default_factory=lambda: [512, 1024, 2048, 4096])


@measurement(
    "recursion",
    when="theory",
    options=Draws,
    axes=("seed", "sample"),
    needs=(CIRCLE, NTK, RELU),
    draw_s=0.04,
)
def recursion(options, setting, data):
    """Kernel Theta(x_0, x) of random networks beside the right and the printed recursion."""
    from ..theory.kernels import recursion

    return recursion(options, setting)


@measurement(
    "definiteness", when="theory", options=DefinitenessOptions, axes=("seed", "case"), draw_s=0.05
)
def definiteness(options, setting, data):
    """Smallest eigenvalue over the trace of kernels with far more parameters than points."""
    from ..theory.kernels import definiteness

    return definiteness(options, setting)


@measurement("cost_growth", when="theory", options=CostOptions, axes=("seed", "points"), draw_s=2.0)
def cost_growth(options, setting, data):
    """Processor seconds that the kernel of N random inputs takes, several times for each N."""
    from ..theory.kernels import cost_growth

    return cost_growth(options, setting)


@measurement(
    "step_cost", when="theory", options=StepCostOptions, axes=("seed", "width"), draw_s=1.0
)
def step_cost(options, setting, data):
    """Peak memory of a gradient of the loss, for networks of more and more parameters."""
    from ..theory.costs import step_cost

    return step_cost(options, setting)
