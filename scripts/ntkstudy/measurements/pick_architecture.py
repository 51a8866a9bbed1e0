"""Whether the kernel of an untrained network tells how well it will do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Annotated, Any

from ..needs import LABELS, SQUARE, TRAINING, Facts, Need
from ..networks.architecture import ARCHITECTURES
from ..networks.common import ActivationRule
from ..options import Rule, read_options
from ..registry import NETWORKS, measurement
from .architecture_regression import SplitOptions, within_pool


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

    @property
    def grid(self) -> list[dict[str, Any]]:
        """What tells the networks apart: some keys of `network`."""
        keys = ("architecture", "depth", "activation", "sigma_w", "sigma_b")
        values = (self.architectures, self.depths, self.activations, self.sigma_ws, self.sigma_bs)
        return [dict(zip(keys, each, strict=True)) for each in product(*values)]

    def block(self, candidate: Mapping[str, Any]) -> dict[str, Any]:
        """The `network` block of one of them."""
        return {"kind": "architecture", "width": self.width, **candidate}


def _asks(options: PickArchitectureOptions) -> tuple[Need, ...]:
    """Splits for both purposes, and networks that there are."""
    gated = [name for name in options.architectures if ARCHITECTURES[name].activation is None]
    return (
        *within_pool(options),
        Need(
            f"fewer splits that choose than draws (choosing {options.choosing}, draws "
            f"{options.draws})",
            lambda facts: options.choosing < options.draws,
        ),
        Need(
            f"architectures that take one of activations (not {', '.join(gated)})",
            lambda facts: not gated,
        ),
        *_of_networks(options),
    )


def _of_networks(options: PickArchitectureOptions) -> Iterator[Need]:
    """What each network of the grid asks of the images."""
    kind = NETWORKS["architecture"]
    for each in options.grid:
        of_network = read_options(kind.options, options.block(each))
        named = f"architecture {each['architecture']}, width {options.width}"
        for need in kind.needs:
            yield Need(f"{need.text} ({named})", partial(_is_met, need, kind, of_network))


def _is_met(need: Need, network: Any, options: Any, facts: Facts) -> bool:
    """Whether another network than the cell's has what it needs."""
    return need.met(replace(facts, network=network, options=options))


@measurement(
    "pick_architecture",
    when="theory",
    options=PickArchitectureOptions,
    axes=("seed", "score", "candidate"),
    needs=(TRAINING, LABELS, SQUARE),
    kernel="mean",
    asks=_asks,
    draw_s=25.0,
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
