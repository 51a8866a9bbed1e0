"""Networks made of other networks: linearised in their weights, scaled, centred."""

import copy

from torch import Tensor, nn
from torch.func import jvp

from ..empirical.layer_checks import check_evaluation_mode
from ..empirical.model import call_unchanged
from ..errors import ConfigurationError
from ..networks.output_scale import scale_output


class _Derived(nn.Module):
    """A copy of a network that remembers its initial weights theta_0 as buffers."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = copy.deepcopy(network)
        self._names = [name for name, _ in network.named_parameters()]
        for index, parameter in enumerate(network.parameters()):
            self.register_buffer(f"start_{index}", parameter.detach().clone())

    @property
    def start(self) -> dict[str, Tensor]:
        """Weights theta_0 by their name in the network."""
        return {name: getattr(self, f"start_{index}") for index, name in enumerate(self._names)}

    def initial(self, x: Tensor) -> Tensor:
        """Outputs of the network at its initial weights."""
        return call_unchanged(self.network, self.start, x)


class Linearized(_Derived):
    """A network linearised at its present weights theta_0.

    f_lin(x; theta) = f(x; theta_0) + J(x; theta_0) (theta - theta_0), a function of the same
    parameters theta, which start at theta_0. It trains like any module; its tangent kernel never
    changes. One forward-mode derivative a call, never a Jacobian. Source: Lee et al. 2019
    (arXiv:1902.06720), eq. 5.

    Args:
        network: a module in evaluation mode; it is copied.

    Attributes:
        network: the copy, whose parameters are theta.

    Raises:
        UnsupportedLayerError: if a layer is no function of the weights and one input alone, as in
            `ntkflow.empirical_ntk`.

    Examples:
        >>> network, x = ntkflow.mlp(2, [64], activation="tanh"), torch.randn(5, 2)
        >>> linear = ntkflow.Linearized(network)
        >>> torch.allclose(linear(x), network(x))
        True
    """

    def __init__(self, network: nn.Module):
        check_evaluation_mode(network)
        super().__init__(network)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the linearised network."""
        start = self.start
        moved = {name: p - start[name] for name, p in self.network.named_parameters()}
        outputs, change = jvp(lambda p: call_unchanged(self.network, p, x), (start,), (moved,))
        return outputs + change


class ScaledOutput(_Derived):
    """A network with scaled output, f = alpha h, or centred, f = alpha (h - h_0).

    The larger alpha, the lazier the training: with the loss divided by alpha^2 the weights move
    1 / alpha as far. h_0 is the network at its present weights, so that a centred f starts at 0.
    Source: Chizat, Bach 2018 (arXiv:1812.07956), sections 1 and 2.

    Args:
        network: a module in evaluation mode, h; it is copied.
        scale: alpha > 0.
        centred: subtract the initial function.

    Attributes:
        network: the copy of h.

    Raises:
        ConfigurationError: if the scale is not positive.

    Examples:
        >>> network = ntkflow.ScaledOutput(ntkflow.mlp(2, [64]), scale=10.0)
        >>> network(torch.ones(1, 2)).item()
        0.0
    """

    def __init__(self, network: nn.Module, scale: float | int = 1.0, *, centred: bool = True):
        if not scale > 0:
            raise ConfigurationError(f"scale: {scale!r} is not allowed; use a number > 0")
        super().__init__(network)
        self.scale, self.centred = float(scale), centred

    def forward(self, x: Tensor) -> Tensor:
        """Outputs f."""
        return scale_output(self.network(x), self.scale, self.initial(x) if self.centred else None)
