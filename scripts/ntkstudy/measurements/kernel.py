"""The kernel on the training set over its number of rows, K / M, network by network."""

from dataclasses import dataclass
from typing import Annotated

from ..needs import PLANE
from ..options import Rule
from ..registry import FINITE, measurement
from .common import labelled, to_numpy
from .function import ModeOptions

UNITS = {
    "lambda_max": "largest eigenvalue of K / M",
    "sharpness": "2 eta lambda_max; gradient descent on the squared error is stable below 2",
    "trace": "trace of K / M",
    "effective_rank": "exp of the spectral entropy of K",
    "alignment": "cosine of K and y y'",
    "drift": "Frobenius norm of K - K_0 over that of K_0",
}


@dataclass(frozen=True, kw_only=True)
class SpectrumOptions:
    """How many eigenvalues."""

    eigenvalues: Annotated[int, Rule("how many leading eigenvalues of K / M", minimum=1)] = 10


@measurement("kernel", when=FINITE, each=True, kernel="mean", kept=True)
def kernel(options, network, data):
    """Gram matrix on the training set: largest eigenvalue, sharpness, trace, effective rank,
    alignment, drift since the start.

    Of h, not of f = alpha h: dividing the loss by alpha squared makes its dynamics those of h.
    In the type of the training. Sharpness is NaN for other losses than the squared error and for
    Adam.
    """
    import numpy as np

    from ntkflow.linalg.spectra import alignment, effective_rank, kernel_drift

    x, y = data.training_set(**network.where)
    now = _gram(network, network.weights, x)
    before = network.once("gram at start", lambda: _gram(network, network.start_weights, x))
    values = _eigenvalues(now)
    plain = network.training.get("loss"), network.training.get("optimizer")
    rate = network.training["learning_rate"] if plain == ("mse", "sgd") else np.nan
    top = values[0] / len(x)
    numbers = [top, 2 * rate * top, np.trace(now) / len(x), effective_rank(values)]
    numbers += [alignment(now, to_numpy(y)), kernel_drift(now, before)]
    return labelled(**dict(zip(UNITS, zip(numbers, UNITS.values(), strict=True), strict=True)))


@measurement("kernel", when="limit", kernel="mean")
def limit_kernel(options, limit, data):
    """Limit Gram matrix on the training set: top eigenvalue, trace, effective rank, alignment."""
    import numpy as np

    from ntkflow.linalg.spectra import alignment, effective_rank

    gram, y = to_numpy(limit.gram(data)), data.training_set(**limit.where)[1]
    values = _eigenvalues(gram)
    numbers = {
        "lambda_max": values[0] / len(gram),
        "trace": np.trace(gram) / len(gram),
        "effective_rank": effective_rank(values),
        "alignment": alignment(gram, to_numpy(y)),
    }
    return labelled(**{name: (value, UNITS[name]) for name, value in numbers.items()})


@measurement(
    "spectrum", when=FINITE, options=SpectrumOptions, axes=("rank",), each=True, kernel="mean"
)
def spectrum(options, network, data):
    """Leading eigenvalues of the Gram matrix over M on the training set, of h as in `kernel`."""
    x, _ = data.training_set(**network.where)
    return _spectrum(_gram(network, network.weights, x), options.eigenvalues)


@measurement(
    "spectrum",
    when="limit",
    options=SpectrumOptions,
    axes=("rank",),
    kernel="mean",
)
def limit_spectrum(options, limit, data):
    """Leading eigenvalues of the limit Gram matrix over M on the training set."""
    return _spectrum(to_numpy(limit.gram(data)), options.eigenvalues)


@measurement("circle_spectrum", when="limit", options=ModeOptions, axes=("mode",), needs=(PLANE,))
def circle_spectrum(options, limit, data):
    """Eigenvalue of the limit NTK for every Fourier mode on the circle."""
    from ntkflow.limits import circle_eigenvalues

    modes = range(options.max_mode + 1)
    values = circle_eigenvalues(limit.network, modes)
    return labelled(
        ("mode",),
        mode=(list(modes), "periods per turn"),
        eigenvalue=(values, "Gram eigenvalue over the number of grid points"),
    )


def _gram(network, weights, x):
    import torch

    from ntkflow.empirical import empirical_ntk

    # The mean over outputs is what the limit kernel, that of any one output, is compared with.
    kernel = empirical_ntk(network.network, x, parameters=weights, outputs="mean")
    return to_numpy(kernel.values.to(torch.float64))


def _eigenvalues(gram):
    """All, descending; NaN for a diverged network."""
    import numpy as np

    from ntkflow.linalg.spectra import eigenvalues

    return eigenvalues(gram) if np.isfinite(gram).all() else np.full(len(gram), np.nan)


def _spectrum(gram, count: int):
    """Leading eigenvalues of K / M with their ranks, 1 the largest."""
    import numpy as np

    found = _eigenvalues(gram)[:count] / len(gram)
    return labelled(
        ("rank",),
        rank=(np.arange(1, len(found) + 1), "1"),
        eigenvalue=(found, "eigenvalue of K / M"),
    )
