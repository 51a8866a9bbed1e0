"""Whether the kernel of an untrained network tells how well it will do."""

from dataclasses import dataclass, field
from typing import Annotated

from ..needs import LABELS, SQUARE, TRAINING
from ..networks.architecture import ARCHITECTURES
from ..networks.common import ActivationRule
from ..options import Rule
from ..registry import measurement
from .architecture_regression import SplitOptions


@dataclass(frozen=True, kw_only=True)
class PickArchitectureOptions(SplitOptions):
    """The networks that are compared, and which splits choose a score."""

    width: Annotated[int, Rule("of all networks", minimum=1)]
    architectures: Annotated[
        list[Annotated[str, Rule(enum=list(ARCHITECTURES))]],
        Rule("values of network.architecture", minItems=1),
    ]
    depths: Annotated[
        list[Annotated[int, Rule(minimum=1)]], Rule("values of network.depth", minItems=1)
    ]
    activations: Annotated[
        list[Annotated[str, ActivationRule("a nonlinearity")]],
        Rule("values of network.activation", minItems=1),
    ] = field(default_factory=lambda: ["relu"])
    sigma_ws: Annotated[
        list[Annotated[float, Rule(minimum=0)]], Rule("values of network.sigma_w", minItems=1)
    ]
    sigma_bs: Annotated[
        list[Annotated[float, Rule(minimum=0)]], Rule("values of network.sigma_b", minItems=1)
    ]
    choosing: Annotated[int, Rule("first splits, which choose a score", minimum=1)] = 2
    good: Annotated[float, Rule("test accuracy above which a network is no broken one")] = 0.8


@measurement(
    "pick_architecture",
    when="theory",
    options=PickArchitectureOptions,
    axes=("seed", "score", "candidate"),
    needs=(TRAINING, LABELS, SQUARE),
    kernel="mean",
)
def pick_architecture(options, setting, data):
    """Scores of the kernels of untrained networks beside test accuracy after training, and ranks.

    In every split of the training set each is
    drawn and trained anew. `value`: a score of its kernel (mean over outputs) on the learned images
    before training: `ridge`, the accuracy of kernel ridge regression on held-out folds of these;
    `alignment` with the targets, centred; `lambda_max`, `trace` of K / M; `effective_rank`;
    `condition`, the largest eigenvalue over the smallest. `correlation`: Spearman's, over the
    networks, of a score and the test `accuracy` of the same split; `among_good`: over those above
    `good` alone; `null`: with the accuracies in another order. `chosen` marks the score whose mean
    correlation over the first `choosing` splits is largest in size; correlations are those of its
    sign. `judging` marks the other splits.
    """
    from ..theory.pick_architecture import pick_architecture

    return pick_architecture(options, setting)
