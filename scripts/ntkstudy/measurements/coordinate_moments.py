"""Whether averages over the coordinates of wide vectors are what their Gaussian limit says."""

from ..needs import NTK, Need
from ..registry import measurement
from .blocks import ImageOptions
from .common import labelled

KINDS = ("architecture", "mlp", "cnn", "resnet", "rnn", "transformer")
READ_OUT = Need(
    f"a dense read-out behind other layers (network.kind {', '.join(KINDS)})",
    lambda facts: facts.network.name in KINDS,
)


@measurement(
    "coordinate_moments",
    when="initialization",
    options=ImageOptions,
    axes=("moment",),
    needs=(NTK, READ_OUT),
)
def coordinate_moments(options, networks, data):
    """Errors of sample moments of a wide read-out, for psi = x, x^2, relu(x) relu(y), x^2 y^2.

    The read-out gets as many outputs as it has inputs, so that these are the coordinates of one
    more wide vector. `error`: root mean square, over pairs of the first images, of the average of
    psi over the coordinates minus its Gaussian mean, in units of psi's standard deviation, with the
    covariance of infinite width. Averages of independent coordinates have n^(-1/2).
    """
    import numpy as np
    import torch

    from ntkflow.limits import limit_kernels
    from ntkflow.limits.moments import MOMENTS, moment_errors

    x = data.training_set(**networks.where_double)[0][: options.images]
    covariance = networks.once("nngp", lambda: limit_kernels(networks.network, x).nngp)
    errors = [
        moment_errors(_coordinates(one, x.to(**one.where)).double(), covariance) for one in networks
    ]
    return labelled(("moment",), moment=(np.array(MOMENTS, dtype="S"), "")) | labelled(
        ("seed", "moment"), error=(torch.stack(errors), "in standard deviations of the moment")
    )


def _coordinates(one, x):
    """Outputs (N, n) of the read-out made as wide as its inputs, drawn from the network's seed."""
    from torch.func import functional_call

    from ntkflow.networks import Dense
    from ntkflow.randomness import seeded, torch_seed

    below, last = one.network[:-1], one.network[-1]
    weights = {name: one.weights[name] for name, _ in below.named_parameters()}
    scales = dict(sigma_w=last.sigma_w, sigma_b=last.sigma_b, bias=last.bias_init)
    with seeded(torch_seed(one.seeds[0], "init", 1)):  # not the stream of the network itself
        wide = Dense(last.in_features, last.in_features, **scales)
    return wide.to(x)(functional_call(below, weights, (x,)))
