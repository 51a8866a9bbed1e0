"""What activations do to the kernel's part of a learnt gain."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..duals import Dual, Homogeneous
from ..hermite import HermiteDual
from ..nodes import Node
from ..normalization import Normalized


def gain_dual(tracer, source: Node, dual: Dual, function: Callable, label: str) -> Dual | None:
    """Dual of u s'(u) after a learnt gain; none where there is no gain."""
    if not source.gains:
        return None
    if not isinstance(source, Normalized) or source.source.gains:
        raise tracer.builder.refused(
            label.split(" ")[0],
            "comes after a learnt gain and a sum, where the gain's part of the "
            "kernel is not known; put a weight layer between, or norms without elementwise_affine",
        )
    if isinstance(dual, Homogeneous):
        return dual

    def changed(u: Tensor) -> Tensor:
        with torch.enable_grad():
            v = u.detach().requires_grad_()
            (slope,) = torch.autograd.grad(function(v).sum(), v, create_graph=True)
        return u * slope

    return tracer.builder.once(("gain", id(dual)), lambda: HermiteDual(changed, label))
