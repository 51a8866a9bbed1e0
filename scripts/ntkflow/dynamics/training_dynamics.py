"""What an infinitely wide (or linearised) network predicts at any time of its training.

Computed in float64 on the device of the kernel. Kernels are plain (N, N) matrices shared by all
outputs; a block kernel (O, O, N, N) goes in through `ntkflow.block_matrix`, with targets flattened
the same way (`targets.T.reshape(-1)`).
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_choice, check_shape
from ..errors import ConfigurationError
from ..linalg.solving import check_square, columns, semidefinite_eigenpairs
from . import filters

Times = Tensor | np.ndarray | Sequence[float] | Sequence[int] | float | int

# Residuals that diverge are cut here inside sums: finite, and so are their squares, so that two
# diverging directions never make a NaN.
_LARGEST = 1e140


class TrainingDynamics:
    """Full-batch training of a network whose kernel stays constant, at any time.

    With loss c sum_i |f(x_i) - y_i|^2 the training outputs obey f' = -2 c eta K (f - y). Let
    lambda_i, u_i be the eigenpairs of K and a_i = 2 c eta lambda_i. From f0 = 0, after t steps
    direction i keeps the fraction p_i(t) of its residual and has learned g_i(t) = 1 - p_i(t):

    - gradient_descent: p = (1 - a)^t, t whole; with momentum mu the exact heavy-ball recurrence
      p_{t+1} = (1 + mu - a) p_t - mu p_{t-1}, p_0 = p_{-1} = 1 (torch.optim.SGD's momentum);
    - gradient_flow: p = exp(-a t), t in units of steps, a Riemann limit of small steps; momentum mu
      multiplies the rates by 1 / (1 - mu).

    The loss is "mse", (1/M) sum |f - y|^2, so that a = 2 eta lambda / M, or "half_mse",
    (1/2M) sum |f - y|^2, a = eta lambda / M. `divisor` replaces M (default: rows of the kernel):
    N O for a loss averaged over outputs too (torch.nn.MSELoss with O outputs; with "half_mse"
    neural-tangents' 1/(2 N O)), N for a block kernel with O N rows.

    Eigenvalues within rounding of zero count as exactly zero: those up to eps tr K, eps that of the
    kernel's own type, or M eps64 lambda_max, and all as small as the most negative one. So K goes
    in as it was computed: a float32 kernel that was made float64 before would have its rounding
    learned. Such a direction learns nothing on the training set, and on other points
    g / lambda -> 2 c eta t exp(-2 c eta t r), r being the rounding: the limit of small lambda as
    long as no rounding would be learned, and then 0.

    Steps beyond stability diverge as they should. Predictions cut residuals of size 1e140 there, so
    that sums over diverging directions stay finite; `mode_residual` goes on to infinity.

    Source: Lee et al. 2019 (arXiv:1902.06720), eqs. 8-16.

    Args:
        gram: K, (M, M), symmetric and positive semi-definite.
        learning_rate: eta > 0.
        loss: "mse" or "half_mse".
        divisor: number that the loss divides its sum by; default: M, the rows of `gram`.
        method: "gradient_descent" (discrete) or "gradient_flow".
        momentum: mu in [0, 1).

    Attributes:
        eigenvalues: lambda_i / divisor, (M,), descending.
        eigenvectors: u_i as columns, (M, M), in the same order.
        rates: a_i, (M,).

    Raises:
        KernelError: if `gram` is not finite and symmetric, or has a negative eigenvalue.
        ConfigurationError: if an option is out of range.

    Methods raise a KernelError for arrays whose shape does not fit K.

    Examples:
        >>> gram = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
        >>> dynamics = ntkflow.TrainingDynamics(gram, learning_rate=0.25)
        >>> dynamics.learned_fraction(2)
        tensor([0.7500, 0.4375], dtype=torch.float64)
        >>> dynamics.train_mean(torch.tensor([1.0, 1.0]), [0, 1, math.inf])
        tensor([[0.0000, 0.0000],
                [0.5000, 0.2500],
                [1.0000, 1.0000]], dtype=torch.float64)
        >>> dynamics.largest_stable_step()
        1.0
    """

    def __init__(
        self,
        gram: Float[Tensor, "m m"],
        *,
        learning_rate: float | int,
        loss: str = "mse",
        divisor: float | int | None = None,
        method: str = "gradient_descent",
        momentum: float | int = 0.0,
    ):
        check_choice("loss", loss, ("mse", "half_mse"))
        check_choice("method", method, ("gradient_descent", "gradient_flow"))
        _check_range("learning_rate", learning_rate, learning_rate > 0, "a number > 0")
        _check_range("momentum", momentum, 0 <= momentum < 1, "a number in [0, 1)")
        check_square(gram)
        divisor = len(gram) if divisor is None else divisor
        _check_range("divisor", divisor, divisor > 0, "a number > 0")
        self.learning_rate, self.loss, self.divisor = learning_rate, loss, divisor
        self.method, self.momentum = method, float(momentum)
        self._lambda, self.eigenvectors, self._rounding = semidefinite_eigenpairs(gram)
        self._step = (2 if loss == "mse" else 1) * learning_rate / divisor
        if not self.discrete:
            self._step /= 1 - momentum
        self.eigenvalues = self._lambda / divisor
        self.rates = self._step * self._lambda

    @property
    def discrete(self) -> bool:
        """Whether time counts whole steps."""
        return self.method == "gradient_descent"

    def mode_residual(self, t: Times) -> Float[Tensor, "*t m"]:
        """Fraction p_i(t) of its initial residual that each direction keeps.

        Args:
            t: a number (result (M,)) or a vector of T times (result (T, M)); infinity is allowed.

        Raises:
            ConfigurationError: if a time is negative, or broken in discrete time, or infinite where
                the step is not stable.
        """
        times = self._times(t)
        return self._filters(times)[0].reshape(*_leading(t), -1)

    def learned_fraction(self, t: Times) -> Float[Tensor, "*t m"]:
        """Fraction g_i(t) = 1 - p_i(t) of its target that each direction has learned.

        Accurate for slow directions, where 1 - p would cancel. Arguments: see `mode_residual`.
        """
        times = self._times(t)
        return self._filters(times)[1].reshape(*_leading(t), -1)

    def learned_per_eigenvalue(self, t: Times) -> Float[Tensor, "*t m"]:
        """Ratio g_i(t) / lambda_i by which test predictions and weights filter each direction.

        lambda_i is the eigenvalue of K itself. At lambda_i = 0 the limit of the ratio (2 c eta t
        without momentum) until rounding would be learned, then 0.
        Arguments: see `mode_residual`.
        """
        return self._learned_per_lambda(self._times(t)).reshape(*_leading(t), -1)

    def train_mean(self, targets: Float[Tensor, "m *o"], t: Times) -> Float[Tensor, "..."]:
        """Mean prediction U diag(g(t)) U' y on the training points.

        Args:
            targets: y, one row per training point, any number of outputs.
            t: a number (result shaped like `targets`) or T times (one more leading axis T).
        """
        learned = _saturated(self._filters(self._times(t))[1])
        return self._apply(self.eigenvectors, learned, targets, t)

    def mean(
        self, cross_gram: Float[Tensor, "n m"], targets: Float[Tensor, "m *o"], t: Times
    ) -> Float[Tensor, "..."]:
        """Mean prediction K_x U diag(g(t) / lambda) U' y at other points, from f0 = 0.

        The mean over initialisations, or the exact prediction of a centred network. A single
        linearised network with initial outputs f0 predicts f0(x) + mean(K_x, y - f0, t).

        Args:
            cross_gram: K_x, kernel of N test points against the training points.
            targets: y, one row per training point, any number of outputs.
            t: a number (result (N, *o)) or T times (result (T, N, *o)); infinity is allowed.
        """
        check_shape("cross_gram", cross_gram, None, len(self.rates))
        basis = cross_gram.double() @ self.eigenvectors
        return self._apply(basis, self._learned_per_lambda(self._times(t)), targets, t)

    def train_covariance(
        self, nngp_train: Float[Tensor, "m m"], t: Times
    ) -> Float[Tensor, "*t m m"]:
        """Ensemble covariance P(t) Sigma P(t) of one output on the training points.

        P = U diag(p(t)) U', f0 ~ GP(0, Sigma).

        Args:
            nngp_train: Sigma, covariance of the initial function on the training points.
            t: a number or T times (result with a leading axis T).
        """
        check_shape("nngp_train", nngp_train, *self.eigenvectors.shape)
        kept = _saturated(self._filters(self._times(t))[0])
        operator = (self.eigenvectors * kept[:, None, :]) @ self.eigenvectors.T
        covariance = operator @ nngp_train.double() @ operator
        return covariance.reshape(*_leading(t), *nngp_train.shape)

    def covariance(
        self,
        cross_gram: Float[Tensor, "n m"],
        nngp_train: Float[Tensor, "m m"],
        nngp_cross: Float[Tensor, "n m"],
        nngp_test: Float[Tensor, "n n"],
        t: Times,
        *,
        centred: bool = False,
    ) -> Float[Tensor, "*t n n"]:
        """Ensemble covariance of one output at test points, over the initial function f0.

        f0 ~ GP(0, Sigma) adds f0(x) - A f0 with A = K_x U diag(g(t) / lambda) U', so the covariance
        is Sigma_xx - A Sigma_x' - Sigma_x A' + A Sigma A' (Lee et al. 2019, eq. 16).

        Args:
            cross_gram: K_x, kernel of N test points against the training points.
            nngp_train: Sigma on the training points.
            nngp_cross: Sigma_x, test points against training points.
            nngp_test: Sigma_xx on the test points.
            t: a number or T times (result with a leading axis T).
            centred: True for networks trained as h - h0, which have f0 = 0: the covariance is 0.
        """
        self._check_covariances(cross_gram, nngp_train, nngp_cross)
        check_shape("nngp_test", nngp_test, len(cross_gram), len(cross_gram))
        operator = self._operator(cross_gram, t)
        cross, test = nngp_cross.double(), nngp_test.double()
        if centred:
            return test.new_zeros(*_leading(t), *test.shape)
        mixed = operator @ cross.T
        covariance = test - mixed - mixed.mT + operator @ nngp_train.double() @ operator.mT
        return covariance.reshape(*_leading(t), *test.shape)

    def variance(
        self,
        cross_gram: Float[Tensor, "n m"],
        nngp_train: Float[Tensor, "m m"],
        nngp_cross: Float[Tensor, "n m"],
        nngp_test_diagonal: Float[Tensor, " n"],
        t: Times,
    ) -> Float[Tensor, "*t n"]:
        """Diagonal of `covariance`, without an (N, N) object.

        Args:
            cross_gram: K_x, kernel of N test points against the training points.
            nngp_train: Sigma on the training points.
            nngp_cross: Sigma_x, test points against training points.
            nngp_test_diagonal: variance of the initial function at the test points.
            t: a number or T times (result with a leading axis T).
        """
        self._check_covariances(cross_gram, nngp_train, nngp_cross)
        check_shape("nngp_test_diagonal", nngp_test_diagonal, len(cross_gram))
        operator = self._operator(cross_gram, t)
        pull = operator @ nngp_train.double() - 2 * nngp_cross.double()
        variance = nngp_test_diagonal.double() + (pull * operator).sum(-1)
        return variance.reshape(*_leading(t), -1)

    def lazy_distance(self, residual: Float[Tensor, "m *o"], t: Times) -> Float[Tensor, "*t"]:
        """Distance ||theta_t - theta_0|| = sqrt(sum_i (u_i' r)^2 g_i^2 / lambda_i) of the weights.

        Args:
            residual: r = y - f0 on the training points; outputs add up.
            t: a number (result a scalar) or T times (result (T,)).
        """
        check_shape("residual", residual, len(self.rates), ...)
        times = self._times(t)
        learned = _saturated(self._filters(times)[1])
        weight = (self.eigenvectors.T @ columns(residual)).square().sum(1)
        squared = (learned * self._learned_per_lambda(times)) @ weight
        return squared.sqrt().reshape(_leading(t))

    def time_to_residual(self, fraction: float) -> Float[Tensor, " m"]:
        """Time from which on each direction keeps at most `fraction` of its initial residual.

        Flow: log(1 / fraction) / a. Discrete: the first whole step after which |p| stays at or
        below `fraction`, overshooting by momentum included. Infinite for directions that are never
        learned (a = 0, or a step beyond stability).

        Raises:
            ConfigurationError: if `fraction` is not in (0, 1).
        """
        _check_range("fraction", fraction, 0 < fraction < 1, "a number in (0, 1)")
        if self.discrete:
            return filters.settling_steps(self.rates, fraction, self.momentum)
        return -math.log(fraction) / self.rates

    def largest_stable_step(self) -> float:
        """Learning rate above which some direction grows: 2 (1 + mu) over the loss's curvature.

        For "mse" without momentum divisor / lambda_max; infinite for gradient flow.
        """
        top = self.rates.max().item()
        if not self.discrete or top == 0:
            return math.inf
        return self.learning_rate * 2 * (1 + self.momentum) / top

    def _times(self, t: Times) -> Float[Tensor, "t 1"]:
        times = torch.as_tensor(t, dtype=torch.float64)
        if not times.is_meta:
            self._check_times(times)
        return times.reshape(-1, 1).to(self.rates.device)

    def _check_times(self, times: Tensor) -> None:
        if not bool((times >= 0).all()):
            raise ConfigurationError(f"t: {times.min().item()} is not allowed; use times >= 0")
        if not self.discrete:
            return
        finite = times[times.isfinite()]
        broken = finite[finite != finite.round()]
        if len(broken.reshape(-1)):
            raise ConfigurationError(
                f"t: {broken[0].item()} is not a whole number of steps; use method='gradient_flow'"
            )
        if finite.numel() < times.numel() and not self.learning_rate < self.largest_stable_step():
            raise ConfigurationError(
                f"t: infinity has no limit, as learning_rate {self.learning_rate} is not below the "
                f"largest stable step {self.largest_stable_step():.6g}"
            )

    def _filters(self, times: Float[Tensor, "t 1"]) -> filters.Pair:
        """Kept and learned fractions; at t = infinity all but the zero directions are learned."""
        finite = torch.where(times.isinf(), 0.0, times)
        if not self.discrete:
            kept, learned = filters.gradient_flow(self.rates, finite)
        elif self.momentum == 0:
            kept, learned = filters.gradient_descent(self.rates, finite)
        else:
            kept, learned = filters.heavy_ball(self.rates, finite, self.momentum)
        ever = (self.rates > 0).double()
        return torch.where(times.isinf(), 1 - ever, kept), torch.where(times.isinf(), ever, learned)

    def _learned_per_lambda(self, times: Float[Tensor, "t 1"]) -> Float[Tensor, "t m"]:
        finite = torch.where(times.isinf(), 0.0, times)
        discrete_momentum = self.momentum if self.discrete else 0.0
        limit = self._step * filters.learned_per_rate_at_zero(finite, discrete_momentum)
        # Later on it would multiply the rounding of K_x u, which is 0 where lambda is.
        limit = limit * torch.exp(-limit * self._rounding)
        learned = _saturated(self._filters(times)[1])
        safe = torch.where(self._lambda > 0, self._lambda, 1.0)
        return torch.where(self._lambda > 0, learned / safe, limit)

    def _check_covariances(self, cross_gram: Tensor, train: Tensor, cross: Tensor) -> None:
        check_shape("cross_gram", cross_gram, None, len(self.rates))
        check_shape("nngp_train", train, *self.eigenvectors.shape)
        check_shape("nngp_cross", cross, *cross_gram.shape)

    def _operator(self, cross_gram: Tensor, t: Times) -> Float[Tensor, "t n m"]:
        basis = cross_gram.double() @ self.eigenvectors
        filtered = basis * self._learned_per_lambda(self._times(t))[:, None, :]
        return filtered @ self.eigenvectors.T

    def _apply(self, basis, weights, targets, t) -> Tensor:
        check_shape("targets", targets, len(self.rates), ...)
        projections = self.eigenvectors.T @ columns(targets)
        values = basis @ (weights[:, :, None] * projections)
        return values.reshape(*_leading(t), len(basis), *targets.shape[1:])


def _saturated(values: Tensor) -> Tensor:
    return values.clamp(-_LARGEST, _LARGEST)


def _leading(t: Times) -> tuple[int, ...]:
    """Axes that a time adds to a result: none for a number, (T,) for a vector."""
    return tuple(torch.as_tensor(t).shape)


def _check_range(name: str, value: float | int, holds: bool, allowed: str) -> None:
    if not holds:
        raise ConfigurationError(f"{name}: {value!r} is not allowed; use {allowed}")
