"""Any torch.nn network: torch.func over the seeds. The reference, and the way out."""

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap


class GeneralEngine:
    """Forward and backward pass of a group of networks (S, ...) on shared inputs x (M, ...)."""

    def __init__(self, network: nn.Module, parameters: dict[str, Tensor], x: Tensor, buffers: dict):
        self.parameters = parameters
        self.ensemble = vmap(lambda p: functional_call(network, p, (x,)).reshape(len(x), -1))

    @staticmethod
    def seeds_per_group(parameters: dict[str, Tensor], x: Tensor) -> int:
        """All seeds together."""
        return max(3, len(next(iter(parameters.values()))))

    def forward(self, out: Tensor) -> None:
        """Write the outputs (S, M, O) into `out`; keep what `pull_back` needs."""
        outputs, self.vjp = vjp(self.ensemble, self.parameters)
        out.copy_(outputs)

    def pull_back(self, cotangent: Tensor, into: dict[str, Tensor]) -> None:
        """Add the gradient of sum(cotangent * outputs) to `into`, which may be the parameters."""
        with torch.no_grad():
            (gradient,) = self.vjp(cotangent)
            for name, tensor in into.items():
                tensor.add_(gradient[name])
