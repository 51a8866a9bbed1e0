"""Second derivatives: laziness of trained and of drawn networks, convexity of losses."""

from dataclasses import asdict, dataclass

from ..needs import ONE_OUTPUT
from ..registry import FINITE, measurement
from .common import Draws, PowerIterations, labelled, options_of


@dataclass(frozen=True, kw_only=True)
class InitialKappaOptions(Draws, PowerIterations):
    """Draws and power iterations."""


@measurement("kappa", when=FINITE, options=PowerIterations, each=True)
def kappa(options, network, data):
    """Laziness kappa and its factors, at the present weights."""
    from ntkflow.lazy import kappa

    scales = options_of(network.training, "output_scale", "centred")
    x, y = data.training_set(**network.where)
    found = kappa(network.network, x, y, parameters=network.weights, **scales, **asdict(options))
    return labelled(**{name: (value, "1") for name, value in asdict(found).items()})


@measurement(
    "initial_kappa", when="theory", options=InitialKappaOptions, axes=("seed",), draw_s=0.05
)
def initial_kappa(options, setting, data):
    """Laziness kappa and its factors for centred networks, one row a draw."""
    from ..theory.curvature import kappa_at_initialization

    return kappa_at_initialization(options, setting)


@measurement(
    "convexity", when="theory", options=Draws, axes=("seed",), needs=(ONE_OUTPUT,), draw_s=0.1
)
def convexity(options, setting, data):
    """Smallest over largest |eigenvalue| of the Hessian of the loss mean (f - y)^2, three times.

    In the weights of the network at initialisation, in those of the linearised network, and in the
    outputs on the training set. Negative means not convex.
    """
    from ..theory.curvature import convexity

    return convexity(options, setting)
