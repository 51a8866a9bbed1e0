"""Parameters of whole ensembles of networks, one initialisation per seed."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import UnsupportedLayerError
from ..randomness import seeded, torch_seed


def draw_parameters(
    network: nn.Module, seeds: Sequence[int], *, dtype: torch.dtype | None = None, device=None
) -> dict[str, Tensor]:
    """Parameters of an ensemble, one initialisation of `network` per seed.

    Every seed calls `reset_parameters` of each layer on the CPU under its own random state, so a
    seed gives the same network whatever its neighbours, the device and the thread count are. The
    random numbers are drawn in the network's own dtype and then cast.

    Args:
        network: every module with parameters of its own must have `reset_parameters`, as ntkflow's
            and nearly all of torch.nn's have; it is not changed.
        seeds: one per member of the ensemble.
        dtype: type of the result; default: the network's own.
        device: where the result lives; default: the CPU.

    Returns:
        Name to tensor (S, *shape) with S = len(seeds).

    Raises:
        UnsupportedLayerError: if a module with parameters of its own has no `reset_parameters`.

    Examples:
        >>> drawn = ntkflow.draw_parameters(ntkflow.mlp(3, [64]), seeds=range(10))
        >>> drawn["0.weight"].shape
        torch.Size([10, 64, 3])
    """
    _check_can_be_drawn(network)
    template = _blank_copy(network)
    stacked = {
        name: torch.empty(len(seeds), *like.shape, dtype=dtype or like.dtype, device=device)
        for name, like in template.named_parameters()
    }
    drawn = [module for module in template.modules() if hasattr(module, "reset_parameters")]
    for index, seed in enumerate(seeds):
        with seeded(torch_seed(seed, "init")):
            for module in drawn:
                module.reset_parameters()
        for name, parameter in template.named_parameters():
            stacked[name][index] = parameter.detach()
    return stacked


def _blank_copy(network: nn.Module) -> nn.Module:
    """A copy on the CPU with parameters of any value.

    As `to_empty`, which for a network on the meta device would load torch's compiler first.
    """
    blank = {id(p): nn.Parameter(torch.empty(p.shape, dtype=p.dtype)) for p in network.parameters()}
    return copy.deepcopy(network, memo=blank)


def _check_can_be_drawn(network: nn.Module) -> None:
    for name, module in network.named_modules():
        if dict(module.named_parameters(recurse=False)) and not hasattr(module, "reset_parameters"):
            raise UnsupportedLayerError(
                f"layer {name!r}: {type(module).__name__} has parameters but no reset_parameters() "
                "that draws them; allowed: layers that have it"
            )


def member(parameters: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    """Parameters of one member of an ensemble, ready for `torch.func.functional_call`."""
    return {name: tensor[index] for name, tensor in parameters.items()}
