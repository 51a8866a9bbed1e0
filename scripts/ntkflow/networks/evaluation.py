"""Networks whose forward pass in training differs from that in evaluation."""

import copy

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd


def draws_masks(layer: nn.Module) -> bool:
    """Whether a layer is dropout that is in force."""
    return isinstance(layer, _DropoutNd) and layer.training and layer.p > 0


def drops_out(network: nn.Module) -> bool:
    """Whether the forward pass draws masks: a dropout layer in training mode."""
    return any(map(draws_masks, network.modules()))


def uses_batch_statistics(layer: nn.Module) -> bool:
    """Whether a layer normalises by mean and variance of the rows that it is given."""
    return isinstance(layer, _BatchNorm) and (layer.training or layer.running_mean is None)


def has_modes(network: nn.Module) -> bool:
    """Whether the network is another function in training than in evaluation."""
    return drops_out(network) or any(map(uses_batch_statistics, network.modules()))


def evaluated(
    network: nn.Module, parameters: dict[str, Tensor], x: Shaped[Tensor, "n *d"]
) -> nn.Module:
    """The network as it is evaluated: without dropout, batch statistics frozen.

    Batch normalisation computes (h - mu) / sqrt(sigma^2 + eps) with mean and variance (divided by
    n) over the rows of x (Ioffe, Szegedy 2015, arXiv:1502.03167). Here mu and sigma stay at their
    values at these parameters: constants for every derivative, and for other inputs.

    Args:
        network: not changed.
        parameters: name to tensor, of one network.
        x: the training set.

    Returns:
        A copy in evaluation mode, to be called with the same parameters; the network itself if it
        has no such layers.

    Example:
        >>> network, x = ntkflow.mlp(3, [64], normalization="batch"), torch.randn(5, 3)
        >>> parameters = {name: p[0] for name, p in ntkflow.draw_parameters(network, [0]).items()}
        >>> frozen = ntkflow.evaluated(network, parameters, x)
        >>> torch.func.functional_call(frozen, parameters, (x[:1],)).shape
        torch.Size([1, 1])
    """
    if not has_modes(network):
        return network
    twin = copy.deepcopy(network)
    layers = [layer for layer in twin.modules() if uses_batch_statistics(layer)]
    # One pass freezes layer after layer, each on the outputs of the frozen ones below.
    hooks = [layer.register_forward_pre_hook(_freeze) for layer in layers]
    twin.eval()
    with torch.no_grad():
        functional_call(twin, parameters, (x,))
    for hook in hooks:
        hook.remove()
    return twin


def _freeze(layer: _BatchNorm, inputs: tuple[Tensor]) -> None:
    over = [axis for axis in range(inputs[0].ndim) if axis != 1]
    layer.running_var, layer.running_mean = torch.var_mean(inputs[0], dim=over, correction=0)
