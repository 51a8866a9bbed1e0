"""When to stop training on noisy targets: the test error that the kernel predicts over time."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_shape
from ..errors import ConfigurationError
from .training_dynamics import Times, TrainingDynamics


def expected_test_error(
    dynamics: TrainingDynamics,
    cross_gram: Float[Tensor, "n m"],
    clean_train: Float[Tensor, "m *o"],
    clean_test: Float[Tensor, "n *o"],
    t: Times,
    *,
    noise_std: float | int,
) -> Float[Tensor, "*t"]:
    """Mean squared test error expected over the noise of the training targets, from f0 = 0.

    Training targets are f* + noise, independent N(0, sigma^2). With A = K_x U diag(g(t) / lambda)
    U' and O outputs, E(t) = (`|A f*(X) - f*(x)|`_F^2 + O sigma^2 |A|_F^2) / N: bias and noise,
    summed over outputs, averaged over the N test points, whose targets are clean. A random
    initial function adds the mean of `variance` per output.

    Args:
        dynamics: training to be judged.
        cross_gram: K_x, kernel of N test points against the training points.
        clean_train: f*(X), noiseless targets of the training points.
        clean_test: f*(x), noiseless targets of the test points.
        t: a number (result a scalar) or T times (result (T,)).
        noise_std: sigma >= 0.

    Raises:
        KernelError: if an array's shape does not fit.
        ConfigurationError: if `noise_std` is negative.

    Examples:
        >>> one = torch.ones(1, 1)
        >>> dynamics = ntkflow.TrainingDynamics(one, learning_rate=0.25)
        >>> signal = torch.tensor([2.0])  # one step learns half: bias 1, noise (1/2)^2
        >>> ntkflow.expected_test_error(dynamics, one, signal, signal, 1, noise_std=1.0).item()
        1.25
    """
    _check_shapes(dynamics, cross_gram, clean_train, clean_test)
    if not noise_std >= 0:
        raise ConfigurationError(f"noise_std: {noise_std!r} is not allowed; use a number >= 0")
    bias = dynamics.mean(cross_gram, clean_train, t) - clean_test.double()
    bias = bias.flatten(-clean_test.ndim).square().sum(-1)
    column = (cross_gram.double() @ dynamics.eigenvectors).square().sum(0)
    spread = dynamics.learned_per_eigenvalue(t).square() @ column
    outputs = clean_test[0].numel()
    total = bias + outputs * noise_std**2 * spread
    return (total / len(clean_test)).reshape(spread.shape)


def early_stopping_time(
    dynamics: TrainingDynamics,
    cross_gram: Float[Tensor, "n m"],
    clean_train: Float[Tensor, "m *o"],
    clean_test: Float[Tensor, "n *o"],
    *,
    noise_std: float | int,
) -> float:
    """Time that minimises `expected_test_error`; same arguments.

    Searched on a logarithmic grid over all time scales of the kernel, refined around its best
    point to 1e-6 relative (to the step, in discrete time below 1e6 steps).

    Returns:
        The time; 0 where the noise forbids any training, infinity where no finite time is
        better than training to the end.

    Raises:
        ConfigurationError: if the step is beyond stability, or `noise_std` is negative.
        KernelError: if an array's shape does not fit.

    Examples:
        >>> signal, one = torch.tensor([2.0]), torch.ones(1, 1)
        >>> flow = ntkflow.TrainingDynamics(one, learning_rate=0.5, method="gradient_flow")
        >>> time = ntkflow.early_stopping_time(flow, one, signal, signal, noise_std=1.0)
        >>> abs(time - math.log(1 + 2.0**2 / 1.0**2)) < 1e-5
        True
    """
    _check_shapes(dynamics, cross_gram, clean_train, clean_test)

    def error(times):
        return expected_test_error(
            dynamics, cross_gram, clean_train, clean_test, times, noise_std=noise_std
        )

    learning = dynamics.rates[dynamics.rates > 0]
    if not len(learning):
        return 0.0
    low, high = 0.01 / learning.max().item(), 40 / learning.min().item()
    best = _minimum(error, low, high, whole=dynamics.discrete)
    start, found, end = error([0.0, best, math.inf]).tolist()
    if start <= min(found, end):
        return 0.0
    return math.inf if end <= found * (1 + 1e-12) else best


def _check_shapes(
    dynamics: TrainingDynamics, cross_gram: Tensor, clean_train: Tensor, clean_test: Tensor
) -> None:
    """Targets of another shape would be broadcast, and give a number."""
    check_shape("cross_gram", cross_gram, None, len(dynamics.rates))
    check_shape("clean_train", clean_train, len(dynamics.rates), ...)
    check_shape("clean_test", clean_test, len(cross_gram), *clean_train.shape[1:])


def _minimum(function: Callable, low: float, high: float, *, whole: bool) -> float:
    """Minimum over [low, high] by five rounds of a logarithmic grid, each 50 times finer."""
    for _ in range(5):
        times = torch.logspace(math.log10(low), math.log10(high), 100, dtype=torch.float64)
        if whole:
            times = times.round().clamp(min=1).unique()
        best = int(function(times).argmin())
        low = times[max(best - 1, 0)].item()
        high = times[min(best + 1, len(times) - 1)].item()
    return times[best].item()
