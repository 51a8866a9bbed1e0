"""Any torch.nn network: torch.func over the seeds. The reference, and the way out."""

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

# Parameters of a network above which its seeds train one at a time.
LARGE_NETWORK = 2**16


class GeneralEngine:
    """Ensemble of networks of any kind on shared inputs x (M, ...)."""

    def __init__(self, network: nn.Module, parameters: dict[str, Tensor], x: Tensor):
        self.parameters = {name: p.clone() for name, p in parameters.items()}
        self.x = x
        self.network = lambda p, x: functional_call(network, p, (x,)).reshape(len(x), -1)

    @staticmethod
    def check(network: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> None:
        """Fits everything."""

    @staticmethod
    def seeds_per_group(parameters: dict[str, Tensor], x: Tensor) -> int:
        """All together where they are small; one at a time where arithmetic outweighs overhead.

        Convolutions always go one at a time: vmap makes them slow ones of many groups.
        """
        if any(p.ndim == 5 for p in parameters.values()):
            return 1
        numbers = sum(p[0].numel() for p in parameters.values())
        seeds = len(next(iter(parameters.values())))
        return max(2, seeds) if numbers <= LARGE_NETWORK else 1

    def group(self, seeds: slice) -> "GeneralGroup":
        """Some of the seeds."""
        parameters = {name: p[seeds] for name, p in self.parameters.items()}
        count = len(next(iter(parameters.values())))
        if count == 1:
            return GeneralGroup(self._single, parameters)
        # Inputs a copy for each seed: with one for all, vmap multiplies the weights of all seeds
        # at once, and the rounding of a seed would depend on how many there are.
        x = self.x.expand(count, *self.x.shape)
        return GeneralGroup(lambda p: vmap(self.network)(p, x), parameters)

    def _single(self, parameters: dict[str, Tensor]) -> Tensor:
        """Outputs (1, M, O) of one network, without vmap."""
        return self.network({name: p[0] for name, p in parameters.items()}, self.x)[None]


class GeneralGroup:
    """Forward and backward pass of some seeds of a GeneralEngine."""

    mode = torch.no_grad

    def __init__(self, ensemble, parameters: dict[str, Tensor]):
        self.ensemble, self.named = ensemble, parameters
        self.parameters = list(parameters.values())

    def forward(self, out: Tensor) -> None:
        """Write the outputs (S, M, O) into `out`; keep what `pull_back` needs."""
        outputs, self.vjp = vjp(self.ensemble, self.named)
        out.copy_(outputs)

    def pull_back(
        self, cotangent: Tensor, into: list[Tensor], scale: float, *, keep: float = 1.0
    ) -> None:
        """Multiply `into` by `keep` and add `scale` times the gradient of sum(cotangent * outputs).

        `into` holds tensors like `parameters`, and may be these.
        """
        (gradient,) = self.vjp(cotangent)
        for tensor, name in zip(into, self.named, strict=True):
            tensor.mul_(keep).add_(gradient[name], alpha=scale)
