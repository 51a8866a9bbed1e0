"""The spectrum of a network's block kernel from products with vectors, without the kernel."""

from dataclasses import dataclass
from typing import Annotated

from ..needs import TWO_POINTS
from ..options import Rule
from ..registry import measurement


@dataclass(frozen=True, kw_only=True)
class LargeNetworkOptions:
    """How many products are made, and on how many rows the kernel is formed beside them."""

    eigenvalues: Annotated[
        int, Rule("leading eigenpairs, which are deflated from what follows", minimum=1)
    ] = 10
    tolerance: Annotated[float, Rule("relative, of these eigenvalues", exclusiveMinimum=0)] = 1e-3
    probes: Annotated[int, Rule("random vectors of every estimate", minimum=2)] = 16
    steps: Annotated[int, Rule("products with each of them", minimum=1)] = 12
    bins: Annotated[int, Rule("intervals of the histogram, a decade each", minimum=1)] = 5
    compared_rows: Annotated[
        int, Rule("first training rows, whose kernel is formed and compared with", minimum=1)
    ]
    memory_budget: Annotated[
        float, Rule("bytes for the graphs of products", exclusiveMinimum=0)
    ] = 1e9


NEEDS = (TWO_POINTS,)


@measurement(
    "large_spectrum", when="theory", options=LargeNetworkOptions, axes=("rank",), needs=NEEDS
)
def large_spectrum(options, setting, data):
    """Leading eigenvalues of the block kernel of a network, and what they cost.

    On all training rows, and on the compared ones, where the kernel is formed too; in float32, of
    one network. `residual` and `difference` are relative to the largest eigenvalue. Products,
    seconds and memory are those of all rows, estimates included; the kernel of the compared rows is
    formed after these.
    """
    from ..theory.large_network import spectrum

    return spectrum(options, setting)


@measurement(
    "large_estimates",
    when="theory",
    options=LargeNetworkOptions,
    axes=("quantity",),
    needs=NEEDS,
)
def large_estimates(options, setting, data):
    """Trace, Frobenius norm, effective rank and alignment from products with random vectors.

    Alignment is with centred targets. `deviation` counts standard errors from the kernel that was
    formed of the compared rows, and `difference` is relative to it; `exact` is the trace of all
    rows from the norms of gradients, NaN for other quantities.
    """
    from ..theory.large_network import estimates

    return estimates(options, setting)


@measurement(
    "large_density", when="theory", options=LargeNetworkOptions, axes=("bin",), needs=NEEDS
)
def large_density(options, setting, data):
    """Number of eigenvalues in intervals of relative size, estimated and of the kernel itself.

    Sizes are relative to the largest eigenvalue; the first interval holds all that are smaller.
    """
    from ..theory.large_network import density

    return density(options, setting)
