"""Theory: gradient descent on linearised networks, and on the networks beside them."""

from dataclasses import dataclass, field
from typing import Annotated

from ..needs import (
    DESCENT,
    HIDDEN_LAYER,
    ONE_OUTPUT,
    ONE_PARAMETER,
    ONE_POINT,
    SQUARED_LOSS,
    TRAINING,
)
from ..options import Rule
from ..registry import measurement
from .common import Draws

_PLAIN = (TRAINING, SQUARED_LOSS, DESCENT)


@dataclass(frozen=True, kw_only=True)
class LeastNormOptions(Draws):
    """Length of the training."""

    steps: Annotated[
        int, Rule("gradient steps, each half of the largest stable one", minimum=1)
    ] = 20000


@dataclass(frozen=True, kw_only=True)
class StepSweepOptions(Draws):
    """Steps that are tried."""

    fractions: Annotated[
        list[Annotated[float, Rule(exclusiveMinimum=0)]],
        Rule("steps over the largest stable one", minItems=2),
    ] = field(default_factory=lambda: [0.25, 0.5, 0.9, 0.98, 1.02, 1.1])


@dataclass(frozen=True, kw_only=True)
class BatchOptions(Draws):
    """Sizes of the minibatches."""

    sizes: Annotated[
        list[Annotated[int, Rule(minimum=1)]],
        Rule("points of a minibatch; the last one of an epoch may have fewer", minItems=1),
    ] = field(default_factory=lambda: [1, 2, 4])


@dataclass(frozen=True, kw_only=True)
class OneParameterOptions:
    """Output scales."""

    scales: Annotated[
        list[Annotated[float, Rule(exclusiveMinimum=0)]],
        Rule("output scales alpha", minItems=1),
    ] = field(default_factory=lambda: [1.0, 10.0, 100.0])


@dataclass(frozen=True, kw_only=True)
class CurveOptions(OneParameterOptions):
    """Where curves begin and end."""

    points: Annotated[int, Rule("points of each curve", minimum=2)] = 121
    reach: Annotated[
        float, Rule("alpha (w - w_0) at the right end; the left end is -1", exclusiveMinimum=0)
    ] = 3.0


@measurement(
    "linear_descent",
    when="theory",
    options=Draws,
    axes=("seed", "mode"),
    needs=(*_PLAIN, ONE_OUTPUT),
    draw_s=0.1,
)
def linear_descent(options, setting, data):
    """Fitted decay rate of every mode of a linearised network, and 2 eta lambda_i / M."""
    from ..theory.descent import linear_descent

    return linear_descent(options, setting)


@measurement(
    "least_norm",
    when="theory",
    options=LeastNormOptions,
    axes=("seed",),
    needs=(*_PLAIN, ONE_OUTPUT, HIDDEN_LAYER),
    draw_s=0.4,
)
def least_norm(options, setting, data):
    """Where gradient descent ends, against the solution nearest to the initial weights."""
    from ..theory.descent import least_norm

    return least_norm(options, setting)


@measurement(
    "step_sweep",
    when="theory",
    options=StepSweepOptions,
    axes=("seed", "fraction"),
    needs=(*_PLAIN, ONE_OUTPUT),
    draw_s=0.2,
)
def step_sweep(options, setting, data):
    """Losses of linearised and real networks for steps below and above the largest stable one."""
    from ..theory.descent import step_sweep

    return step_sweep(options, setting)


@measurement(
    "minibatches",
    when="theory",
    options=BatchOptions,
    axes=("seed", "batch"),
    needs=(*_PLAIN, ONE_OUTPUT),
    draw_s=0.2,
)
def minibatches(options, setting, data):
    """How far full-batch descent and descent on minibatches stray from gradient flow."""
    from ..theory.minibatches import minibatches

    return minibatches(options, setting)


@measurement(
    "one_parameter",
    when="theory",
    options=OneParameterOptions,
    axes=("output_scale",),
    needs=(*_PLAIN, ONE_PARAMETER, ONE_POINT),
    draw_s=6.0,
)
def one_parameter(options, setting, data):
    """Minimiser of a model with one weight at several output scales alpha, beside the tangent's."""
    from ..theory.descent import one_parameter

    return one_parameter(options, setting)


@measurement(
    "one_parameter_curves",
    when="theory",
    options=CurveOptions,
    axes=("output_scale", "shift"),
    needs=(ONE_PARAMETER, ONE_POINT),
    draw_s=6.0,
)
def one_parameter_curves(options, setting, data):
    """Model f = alpha h, its tangent, and both losses over alpha^2, against alpha (w - w_0)."""
    from ..theory.descent import one_parameter_curves

    return one_parameter_curves(options, setting)
