"""The kernel of an input with itself, for every network of an ensemble at once."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ..checks import check_shape
from ..errors import ConfigurationError
from .inputs import Several, apply, as_inputs, call
from .layer_checks import check_evaluation_mode


def diagonal_kernel(
    network: nn.Module, parameters: dict[str, Tensor], x: Float[Tensor, "1 *d"] | Several
) -> tuple[Float[Tensor, " s"], Float[Tensor, " s"]]:
    """Theta(x, x) = |df/dtheta|^2 of every network: the part of its weights, and all of it.

    Its spread over networks is that of finite width (Hanin, Nica 2019, arXiv:1909.05989).

    Args:
        network: maps (1, *d) to (1, 1).
        parameters: name to tensor (S, *shape); names that end in "weight" are weights.
        x: the input, (1, *d), or several in a tuple or dict, as in `empirical_ntk`.

    Returns:
        The part of the weights and the whole kernel, each (S,).

    Raises:
        ConfigurationError: if the inputs or the parameters are not allowed.
        UnsupportedLayerError: if a layer is in training mode and depends on the batch or on chance.
        KernelError: if the network has several outputs, x several rows, or a parameter is not
            stacked over as many networks as the others.

    Examples:
        >>> network = torch.nn.Linear(2, 1)
        >>> start = ntkflow.draw_parameters(network, seeds=range(3))
        >>> weights, full = ntkflow.diagonal_kernel(network, start, torch.tensor([[1.0, 2.0]]))
        >>> weights.tolist(), full.tolist()
        ([5.0, 5.0, 5.0], [6.0, 6.0, 6.0])
    """
    x = as_inputs("x", x)
    check_evaluation_mode(network)
    _check_stacked(network, parameters)
    apply(lambda tensor: check_shape("x", tensor, 1, ...) or tensor, x)

    def output(one: dict[str, Tensor]) -> Tensor:
        f = call(lambda *args, **named: functional_call(network, one, args, named), x)
        check_shape("outputs", f, 1, 1)
        return f.squeeze()

    def of_one(one: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        squares = {name: part.square().sum() for name, part in grad(output)(one).items()}
        weights = [square for name, square in squares.items() if name.endswith("weight")]
        return sum(weights), sum(squares.values())

    return vmap(of_one)(parameters)


def _check_stacked(network: nn.Module, parameters: dict[str, Tensor]) -> None:
    """Raise unless these are parameters of the network, stacked over as many networks each."""
    known = dict(network.named_parameters(remove_duplicate=False))
    count = None  # any, and then that of the first
    for name, stacked in parameters.items():
        if name not in known:
            raise ConfigurationError(f"parameters: the network has no parameter {name!r}")
        check_shape(f"parameters[{name!r}]", stacked, count, *known[name].shape)
        count = len(stacked)
