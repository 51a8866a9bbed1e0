"""Networks that stop early against regression with their limit kernel, on more and more rows."""

from dataclasses import dataclass
from typing import Annotated

from ..needs import LABELS, NTK, TRAINING
from ..options import Rule
from ..registry import measurement
from .common import Draws, Ridges


@dataclass(frozen=True, kw_only=True)
class NetworkAgainstKernelOptions(Draws, Ridges):
    """Sizes of the training sets, what the ridge is chosen from, and who judges."""

    sizes: Annotated[
        list[Annotated[int, Rule(minimum=2)]],
        Rule("n, numbers of training rows", minItems=1, uniqueItems=True),
    ]
    held_out: Annotated[
        float,
        Rule("share of the n rows that chooses step and ridge", exclusiveMinimum=0, maximum=0.5),
    ] = 0.2


@measurement(
    "network_against_kernel",
    when="theory",
    options=NetworkAgainstKernelOptions,
    axes=("seed", "n"),
    needs=(TRAINING, LABELS, NTK),
    kernel="stored",
)
def network_against_kernel(options, setting, data):
    """Test accuracy of a network and of its limit kernel after choices on the same held-out rows.

    For each draw n training rows are drawn, and a network. The step to stop at, one of the
    snapshots, and the ridge are chosen on some of the rows after training on the others; then both
    learn all n rows, and test rows are read once. Draws are paired: the same rows for both.
    """
    from ..theory.network_against_kernel import network_against_kernel

    return network_against_kernel(options, setting)
