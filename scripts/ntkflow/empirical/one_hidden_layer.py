"""Kernels of networks with one hidden layer in closed form, many networks at once.

f = c2 V a + b2 v with a = phi(h), h = c1 W x + b1 u; c and b are the layers' scales.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from ..networks import Dense, evaluated, member
from ..training.dense import Layer, misfit, parse
from .kernel import empirical_ntk


def mean_kernels(
    network: nn.Module,
    parameters: dict[str, Tensor],
    x: Float[Tensor, "n *d"],
    *,
    products: Float[Tensor, "n n"] | None = None,
) -> Float[Tensor, "s n n"]:
    """NTK of every network of an ensemble, averaged over outputs, not divided by n.

    One hidden layer has the closed form, with r_j^2 = (1/O) sum_o V_oj^2,

        c2^2 <a, a'> + b2^2 + (c1^2 <x, x'> + b1^2) c2^2 sum_j r_j^2 phi'(h_j) phi'(h'_j).

    Other networks go through `empirical_ntk`, one by one: without dropout, and with the statistics
    of batch normalisation frozen at their values on x.

    Args:
        network: the architecture.
        parameters: name to tensor (S, *shape).
        x: inputs.
        products: <x, x'>, if it is known already; only used for one hidden layer.
    """
    layers = _two_layers(network)
    if layers is None:
        each = [member(parameters, index) for index in range(len(next(iter(parameters.values()))))]
        kernels = [
            empirical_ntk(evaluated(network, one, x), x, parameters=one, outputs="mean").values
            for one in each
        ]
        return torch.stack(kernels)
    hidden, last = layers
    a, slope = _hidden_units(network, hidden, parameters, x)
    size = _mean_square(parameters[f"{last.name}.weight"]).sqrt().unsqueeze(-1)
    paths = slope * size
    # <a, a'> c2^2 + b2^2, then the product of two Gram matrices on top.
    kernel = torch.bmm(a.mT, a).mul_(last.scale**2)
    paths = torch.bmm(paths.mT, paths).mul_(last.scale**2)
    products = x @ x.mT if products is None else products
    inputs = hidden.scale**2 * products + _square_if(f"{hidden.name}.bias", parameters, hidden)
    return kernel.addcmul_(paths, inputs).add_(_square_if(f"{last.name}.bias", parameters, last))


def scalar_twin(
    network: nn.Module, parameters: dict[str, Tensor]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """A network with one output whose NTK is the kernel of `network` averaged over outputs.

    Its read-out weights are r_j, the root mean square over outputs of V_oj: the mean kernel of one
    hidden layer depends on V in no other way. So methods for one output apply to it.

    Args:
        network: one hidden layer, without output bias.
        parameters: name to tensor, of one network.

    Raises:
        TypeError: if the network is another one.
    """
    layers = _two_layers(network)
    if layers is None or f"{layers[1].name}.bias" in parameters:
        raise TypeError("the network is not one hidden layer without output bias")
    name = f"{layers[1].name}.weight"
    modules = [module for _, module in network.named_children()]
    width, readout = modules[-1].in_features, modules[-1]
    if isinstance(readout, Dense):
        last = Dense(width, 1, sigma_w=readout.sigma_w)
    else:
        last = nn.Linear(width, 1, bias=False, device="meta")
    size = _mean_square(parameters[name].unsqueeze(0)).sqrt()
    return nn.Sequential(*modules[:-1], last), parameters | {name: size}


def _two_layers(network: nn.Module) -> list[Layer] | None:
    if misfit(network) is not None:
        return None
    layers = parse(network)
    return layers if len(layers) == 2 else None


def _hidden_units(
    network: nn.Module, hidden: Layer, parameters: dict[str, Tensor], x: Tensor
) -> tuple[Float[Tensor, "s w n"], Float[Tensor, "s w n"]]:
    """Activations a and slopes phi'(h)."""
    weight = parameters[f"{hidden.name}.weight"]
    # One product per seed: a product over all seeds would round differently with their number.
    h = torch.bmm(weight, x.mT.contiguous().expand(len(weight), -1, -1)).mul_(hidden.scale)
    if f"{hidden.name}.bias" in parameters:
        h += hidden.bias_scale * parameters[f"{hidden.name}.bias"].unsqueeze(-1)
    activation = next((m for m in network if not isinstance(m, Dense | nn.Linear)), nn.Identity())
    if isinstance(activation, nn.ReLU):
        return h.relu(), (h > 0).to(h)
    with torch.enable_grad():
        h = h.detach().requires_grad_()
        a = functional_call(activation, {}, (h,))
        (slope,) = torch.autograd.grad(a.sum(), h)
    return a.detach(), slope


def _mean_square(readout: Float[Tensor, "s o w"]) -> Float[Tensor, "s w"]:
    return readout.square().mean(1)


def _square_if(name: str, parameters: dict[str, Tensor], layer: Layer) -> float:
    return layer.bias_scale**2 if name in parameters else 0.0
