"""The kernel of one input with itself over many initialisations: dispersion at finite width."""

from dataclasses import dataclass
from typing import Annotated

from ..needs import HIDDEN_LAYER, MLP, NTK, ONE_OUTPUT, PLANE
from ..options import Rule
from ..registry import measurement
from .common import AnchorOptions, labelled


@dataclass(frozen=True, kw_only=True)
class DiagonalOptions(AnchorOptions):
    """The input, and one step of gradient descent."""

    anchor_angle: Annotated[float, Rule("angle of the input x on the unit circle, in radians")] = (
        0.0
    )
    target: Annotated[float, Rule("y of one gradient step on the loss (f(x) - y)^2")] = 1.0
    learning_rate: Annotated[float, Rule("eta of that step", exclusiveMinimum=0)] = 1e-3


@measurement(
    "diagonal_kernel",
    when="initialization",
    options=DiagonalOptions,
    needs=(PLANE, ONE_OUTPUT, MLP, NTK, HIDDEN_LAYER),
)
def diagonal_kernel(options, networks, data):
    """Theta(x, x) at one point of the circle, its change in one step, and what theory expects."""
    import numpy as np

    from ntkflow.empirical import diagonal_kernel
    from ntkflow.finite_width import finite_dispersion, inverse_width, kernel_dispersion
    from ntkflow.limits import limit_kernels
    from ntkflow.networks import Dense

    from .profile import circle_point

    network, parameters = networks.network, networks.parameters
    x = circle_point(options.anchor_angle, networks.where)
    weights, full = diagonal_kernel(network, parameters, x)
    after = diagonal_kernel(network, _first_step(network, parameters, x, options), x)[1]
    limit = limit_kernels(network, x.double()).ntk.item()
    widths = [layer.out_features for layer in network if isinstance(layer, Dense)][:-1]
    expected = {
        "limit": (limit, "limit NTK; for ReLU and zero biases also the mean at finite width"),
        "printed": (
            (len(widths) + 1) * (0.5 + x.square().mean().item()),
            "d (1/2 + |x|^2 / n0) for d weight layers, as Hanin and Nica print it",
        ),
        "beta": (inverse_width(widths), "sum over hidden layers of 1 / width"),
        "dispersion": (kernel_dispersion(widths), "ln(E[K^2] / E[K]^2) expected of the weights'"),
        "finite_dispersion": (finite_dispersion(widths), "the same for few layers"),
    }
    return labelled(
        ("seed",),
        weights=(weights, "part of the weights"),
        full=(full, "weights and biases"),
        change=(after - full, "full kernel after one step minus before"),
        **{name: (np.full(len(full), value), unit) for name, (value, unit) in expected.items()},
    )


def _first_step(network, parameters, x, options: DiagonalOptions):
    """Parameters (S, *shape) after one gradient step on the loss (f(x) - target)^2."""
    from torch.func import functional_call, grad, vmap

    def loss(one):
        return (functional_call(network, one, (x,)).squeeze() - options.target).square()

    gradients = vmap(grad(loss))(parameters)
    return {name: p - options.learning_rate * gradients[name] for name, p in parameters.items()}
