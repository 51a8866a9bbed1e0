"""Theory: when to stop on noisy targets, and how a target of one component is approached."""

from dataclasses import dataclass
from typing import Annotated

from ..needs import DESCENT, MLP, NTK, SQUARED_LOSS, TARGETS, TRAINING, TWO_POINTS
from ..options import Rule
from ..registry import measurement
from .common import Draws

_PLAIN = (TRAINING, SQUARED_LOSS, DESCENT, NTK)


@dataclass(frozen=True, kw_only=True)
class StoppingOptions(Draws):
    """Noise on the targets."""

    noise_std: Annotated[
        float, Rule("standard deviation of the noise on training targets", exclusiveMinimum=0)
    ] = 0.5


@dataclass(frozen=True, kw_only=True)
class ComponentOptions(Draws):
    """The target."""

    component: Annotated[
        int,
        Rule("which eigenvector of the limit kernel is the target, from 1", minimum=1),
    ] = 2
    size: Annotated[float, Rule("root mean square of the target", exclusiveMinimum=0)] = 0.5


@measurement(
    "early_stopping",
    when="theory",
    options=StoppingOptions,
    axes=("seed",),
    needs=(*_PLAIN, TARGETS),
    draw_s=0.12,
)
def early_stopping(options, setting, data):
    """Step of least test error for each draw of the noise, and the predicted one."""
    from ..theory.stopping import early_stopping

    return early_stopping(options, setting)


@measurement(
    "principal_component",
    when="theory",
    options=ComponentOptions,
    axes=("seed", "step"),
    needs=(*_PLAIN, MLP, TWO_POINTS),
    draw_s=6.0,
)
def principal_component(options, setting, data):
    """Residual of networks trained from f_0 to f_0 + size v, split along v and across it."""
    from ..theory.components import principal_component

    return principal_component(options, setting)
