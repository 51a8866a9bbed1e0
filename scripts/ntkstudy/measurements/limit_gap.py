"""How far kernels and functions of finite networks are from their limits."""

from ..needs import CENTRED, DESCENT, NTK, SQUARED_LOSS
from ..registry import measurement
from .blocks import ImageOptions
from .common import labelled
from .kernel_spread import initial_kernels


@measurement(
    "limit_distance",
    when="initialization",
    options=ImageOptions,
    needs=(NTK,),
    kernel="mean",
    kept=True,
)
def limit_distance(options, networks, data):
    """How far kernels (mean over outputs) are from their limit, each alone and in the mean.

    `sample`: ||K - K_inf|| / ||K_inf||, and `sample_square` its square. `mean_square`: jackknife
    values of the mean of <K - K_inf, K' - K_inf> / ||K_inf||^2 over all pairs of networks that a
    job holds at once; its expectation is the squared relative distance of E[K] from K_inf, without
    the noise of few networks. `scale`: <K, K_inf> / ||K_inf||^2 - 1.
    """
    from ntkflow.limits import limit_kernels
    from ntkflow.linalg.distances import relative_distances

    x = data.training_set(**networks.where_double)[0][: options.images]
    kernels = initial_kernels(networks, data, options.images)
    found = relative_distances(kernels, limit_kernels(networks.network, x).ntk)
    return labelled(
        ("seed",),
        sample=(found.sample, "relative to the limit"),
        sample_square=(found.sample.square(), "squared, relative to the limit"),
        mean_square=(found.mean_square, "squared, relative to the limit"),
        scale=(found.scale, "relative to the limit"),
    )


@measurement(
    "limit_gap",
    when=("trained", "training"),
    needs=(NTK, SQUARED_LOSS, DESCENT, CENTRED),
    kernel="mean",
)
def limit_gap(options, networks, data):
    """How far networks are from infinite width after as many steps, on the test inputs.

    ||f - f_inf|| / ||f_inf|| over all outputs, f_inf the mean of the infinitely wide network, for
    gradient descent on the squared error with a centred network; and the share of the inputs whose
    largest output differs.
    """
    import torch

    from ntkflow.dynamics import TrainingDynamics
    from ntkflow.limits import limit_kernels
    from ntkflow.linalg.distances import relative_distances

    where = networks.where_double
    (x, y), test_x = data.training_set(**where), data.probe(**where)
    limit = limit_kernels(networks.network, x).ntk
    dynamics = TrainingDynamics(limit, learning_rate=networks.training["learning_rate"])
    cross = limit_kernels(networks.network, test_x, x).ntk
    f_inf = dynamics.mean(cross, y, networks.step)
    found = torch.stack([one.outputs(test_x.to(**one.where)).double() for one in networks])
    differs = (found.argmax(2) != f_inf.argmax(1)).double().mean(1)
    return labelled(
        ("seed",),
        # At step 0 both are zero, and the distance is NaN.
        gap=(relative_distances(found, f_inf).sample, "relative to infinite width"),
        disagreement=(differs, "share of the test inputs"),
    )
