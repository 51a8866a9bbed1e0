"""Any torch.nn network: torch.func over the seeds. The reference, and the way out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ..randomness import seeded, torch_seed
from .optimizers import Optimizer

# Parameters of a network above which its seeds train one at a time.
LARGE_NETWORK = 2**17


class GeneralEngine:
    """Ensemble of networks of any kind on shared inputs x (M, ...); dropout needs `noise_seeds`."""

    def __init__(
        self,
        network: nn.Module,
        parameters: dict[str, Tensor],
        x: Tensor,
        *,
        noise_seeds: Sequence[int] = (),
    ):
        self.parameters = {name: p.clone() for name, p in parameters.items()}
        self.x, self.noise_seeds = x, noise_seeds
        self.network = lambda p, x: functional_call(network, p, (x,)).reshape(len(x), -1)

    @staticmethod
    def misfit(
        network: nn.Module, parameters: dict[str, Tensor], x: Tensor, optimizer: Optimizer
    ) -> str | None:
        """Nothing: it fits everything."""

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
            return SingleGroup(self._single, parameters, self.noise_seeds[seeds])
        # Inputs a copy for each seed: with one for all, vmap multiplies the weights of all seeds
        # at once, and the rounding of a seed would depend on how many there are.
        x = self.x.expand(count, *self.x.shape)
        return GeneralGroup(lambda p: vmap(self.network)(p, x), parameters)

    def _single(self, parameters: dict[str, Tensor]) -> Tensor:
        """Outputs (1, M, O) of one network, without vmap."""
        return self.network(parameters, self.x)[None]


class LoopEngine(GeneralEngine):
    """The same, one network after the other: what a network alone needs no company for."""

    @staticmethod
    def seeds_per_group(parameters: dict[str, Tensor], x: Tensor) -> int:
        """One."""
        return 1


class GeneralGroup:
    """Forward and backward pass of some seeds of a GeneralEngine."""

    mode = torch.no_grad

    def __init__(self, ensemble, parameters: dict[str, Tensor], noise_seeds: Sequence[int] = ()):
        self.ensemble, self.named = ensemble, parameters
        self.parameters = list(parameters.values())
        self.noise_seeds, self.updates = noise_seeds, 0

    def forward(self, out: Tensor) -> None:
        """Write the outputs (S, M, O) into `out`; keep what `pull_back` needs."""
        self.leaves = {name: p.detach().requires_grad_() for name, p in self.named.items()}
        with self._masks(), torch.enable_grad():
            self.outputs = self.ensemble(self.leaves)
        out.copy_(self.outputs.detach())

    def forget(self) -> None:
        """Free what `pull_back` would need."""
        self.leaves = self.outputs = None

    @contextmanager
    def _masks(self) -> Iterator[None]:
        """Random numbers that depend on seed and step alone, however often a step is looked at."""
        if not self.noise_seeds:
            yield
            return
        seed = torch_seed(self.noise_seeds[0], "dropout", self.updates)
        with seeded(seed, self.parameters[0].device):
            yield

    def pull_back(
        self, cotangent: Tensor, into: list[Tensor], scale: float, *, keep: float = 1.0
    ) -> None:
        """Multiply `into` by `keep` and add `scale` times the gradient of sum(cotangent * outputs).

        `into` holds tensors like `parameters`, and may be these.
        """
        leaves = list(self.leaves.values())
        gradients = torch.autograd.grad(self.outputs, leaves, cotangent, materialize_grads=True)
        self.updates += 1
        for tensor, gradient in zip(into, gradients, strict=True):
            if keep != 1:
                tensor.mul_(keep)
            tensor.view_as(gradient).add_(gradient, alpha=scale)


class SingleGroup(GeneralGroup):
    """One seed, with dropout or without."""

    def __init__(self, network, parameters: dict[str, Tensor], noise_seeds: Sequence[int] = ()):
        super().__init__(network, parameters, noise_seeds)
        self.named = {name: p[0] for name, p in parameters.items()}
