"""What training to the same loss does to kernels, and how far it leads from infinite width."""

from dataclasses import dataclass, field
from typing import Annotated

from ..needs import NTK, Need
from ..options import Rule
from ..registry import measurement


@dataclass(frozen=True, kw_only=True)
class TrainedToLossOptions:
    """How networks are trained, and where that ends."""

    levels: Annotated[
        list[Annotated[float, Rule(exclusiveMinimum=0, exclusiveMaximum=1)]],
        Rule("shares of the loss at the start, at which is measured", minItems=1, uniqueItems=True),
    ] = field(default_factory=lambda: [0.5])
    step_share: Annotated[
        float,
        Rule(
            "the step, over 1 / lambda_max(K / M) of the untrained network",
            exclusiveMinimum=0,
            exclusiveMaximum=1,
        ),
    ] = 0.1
    most_steps: Annotated[int, Rule("steps after which training ends", minimum=1)] = 4000
    against_limit: Annotated[bool, Rule("whether to measure the gap to infinite width")] = True


def _asks(options: TrainedToLossOptions) -> tuple[Need, ...]:
    return (NTK,) if options.against_limit else ()


@measurement(
    "trained_to_loss",
    when="initialization",
    options=TrainedToLossOptions,
    axes=("level",),
    each=True,
    kernel="mean",
    asks=_asks,
)
def trained_to_loss(options, network, data):
    """Kernel and function of a network where its loss is a share of what it was at the start.

    The centred network f = h - h_0 learns the training set by gradient descent on the squared
    error. `drift`: ||K - K_0|| / ||K_0|| of the kernel, mean over outputs, on the training inputs;
    `growth`: lambda_max(K) / lambda_max(K_0). `gap`: ||f - f_inf|| / ||f_inf|| on the test inputs,
    with the infinitely wide network after as many of these steps. `steps` until then. NaN where the
    network does not arrive.
    """
    from ..subjects.trained_to_loss import trained_to_loss

    return trained_to_loss(options, network, data)
