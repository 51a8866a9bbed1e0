"""What comes before the first step of a training: checks, an engine, groups of seeds."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..checks import check_names, check_tensors
from ..errors import ConfigurationError
from ..networks import drops_out, has_modes
from ..networks.evaluation import uses_batch_statistics
from .engines import Engine, choose_engine
from .objective import Objective
from .optimizers import Optimizer


def prepare(
    network: nn.Module,
    parameters: dict[str, Tensor],
    x: Float[Tensor, "m *d"],
    y: Float[Tensor, "m *o"],
    *,
    optimizer: Optimizer,
    objective: Objective,
    engine: str,
    noise_seeds: Sequence[int] | None = None,
) -> tuple[Engine, list[slice], Float[Tensor, "m out"]]:
    """Engine with its own copy of the parameters, groups of seeds that step together, targets.

    A single seed may train beside a copy of itself, see `_groups`: then the engine holds one seed
    more than there are.

    Raises:
        ConfigurationError: as `ntkflow.train_ensemble`.
    """
    check_names(network, parameters)
    x, y = _data(parameters, x, y)
    objective.check(y)
    chosen = choose_engine(engine, network, parameters, x, optimizer)
    seeds = len(next(iter(parameters.values())))
    # Masks and batch statistics of several networks at once would depend on how many there are.
    size = 1 if has_modes(network) else chosen.seeds_per_group(parameters, x)
    groups = _groups(seeds, size)
    if groups[-1].stop > seeds:
        parameters = {name: torch.cat([p, p]) for name, p in parameters.items()}
    _check_averages(network)
    noise = _noise(network, noise_seeds, seeds, centred=objective.centred)
    return chosen(network, parameters, x, **noise), groups, y


def _data(
    parameters: dict[str, Tensor], x: Float[Tensor, "m *d"], y: Float[Tensor, "m *o"]
) -> tuple[Float[Tensor, "m *d"], Float[Tensor, "m out"]]:
    """Inputs and targets as the engines take them, like the parameters."""
    check_tensors(x=x, y=y)
    if len(x) != len(y):
        raise ConfigurationError(f"y: {len(y)} targets for {len(x)} inputs; use one for each")
    some = next(iter(parameters.values()))
    return x.to(some), y.to(some).reshape(len(y), -1)


def _groups(seeds: int, size: int) -> list[slice]:
    """Even slices of `size` or somewhat more seeds: all of one seed, or all of at least two.

    One matrix in a batched product takes another path through the matrix library than several,
    with other rounding. Where networks train in groups, a seed without company therefore trains
    beside its own copy: its slice ends one after the last seed.
    """
    if size == 1:
        return [slice(i, i + 1) for i in range(seeds)]
    count = max(1, seeds // size)
    edges = [seeds * i // count for i in range(count)]
    return [slice(*edge) for edge in pairwise([*edges, max(2, seeds)])]


def _check_averages(network: nn.Module) -> None:
    for name, layer in network.named_modules():
        if uses_batch_statistics(layer) and layer.running_mean is not None:
            raise ConfigurationError(
                f"layer {name!r}: {type(layer).__name__} in training mode keeps running averages; "
                "use track_running_stats=False, and `ntkflow.evaluated` for kernels after training"
            )


def _noise(network: nn.Module, noise_seeds: Sequence[int] | None, seeds: int, *, centred: bool):
    """Options of the engine that draws masks; none for networks without dropout."""
    if not drops_out(network):
        return {}
    if centred:
        raise ConfigurationError("centred: True is not allowed with dropout; use False")
    if noise_seeds is None or len(noise_seeds) != seeds:
        raise ConfigurationError(
            f"noise_seeds: {noise_seeds!r} is not allowed with dropout; use {seeds}, one per member"
        )
    return {"noise_seeds": noise_seeds}
