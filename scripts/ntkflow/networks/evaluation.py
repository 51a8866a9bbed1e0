"""Networks as they are evaluated: some have another forward pass in training."""

import copy

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ..checks import check_tensors
from .ensembles import member
from .output_scale import scale_output


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

    Examples:
        >>> network, x = ntkflow.mlp(3, [64], normalization="batch"), torch.randn(5, 3)
        >>> parameters = {name: p[0] for name, p in ntkflow.draw_parameters(network, [0]).items()}
        >>> frozen = ntkflow.evaluated(network, parameters, x)
        >>> torch.func.functional_call(frozen, parameters, (x[:1],)).shape
        torch.Size([1, 1])
    """
    check_tensors(x=x)
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


def ensemble_outputs(
    network: nn.Module,
    parameters: dict[str, Tensor],
    x: Shaped[Tensor, "n *d"],
    *,
    train_x: Shaped[Tensor, "m *d"] | None = None,
    output_scale: float = 1.0,
    start: dict[str, Tensor] | None = None,
) -> Float[Tensor, "s n *o"]:
    """Outputs f = alpha h, or centred alpha (h - h_0), of every network of an ensemble.

    Networks as they are evaluated, see `evaluated`. A network's numbers do not depend on its
    neighbours; gradients flow to the parameters.

    Args:
        network: h, maps (N, *d) to (N, *O).
        parameters: name to tensor (S, *shape).
        x: inputs.
        train_x: the training set, which gives batch normalisation its statistics; default: x.
        output_scale: alpha.
        start: parameters (S, *shape) of h_0; default: not centred.

    Examples:
        >>> network = ntkflow.mlp(3, [64], 2)
        >>> start = ntkflow.draw_parameters(network, seeds=range(4))
        >>> ntkflow.ensemble_outputs(network, start, torch.randn(5, 3)).shape
        torch.Size([4, 5, 2])
    """
    check_tensors(x=x, train_x=train_x)
    train_x = x if train_x is None else train_x
    initial = None if start is None else _ensemble_outputs(network, start, x, train_x)
    return scale_output(_ensemble_outputs(network, parameters, x, train_x), output_scale, initial)


def _ensemble_outputs(
    network: nn.Module, parameters: dict[str, Tensor], x: Tensor, train_x: Tensor
) -> Tensor:
    count = len(next(iter(parameters.values())))
    if has_modes(network):
        each = [member(parameters, index) for index in range(count)]
        return torch.stack(
            [functional_call(evaluated(network, one, train_x), one, (x,)) for one in each]
        )
    # An input for each network: products over all of them would round differently with their count.
    x = x.expand(count, *x.shape)
    return vmap(lambda p, x: functional_call(network, p, (x,)))(parameters, x)
