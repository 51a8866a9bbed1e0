"""Training of a linearised network in closed form: outputs, weights and distances at any step."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ..checks import check_tensors
from ..empirical import empirical_ntk
from ..empirical.model import as_model
from ..lazy.vectors import as_vectors, pull_back
from ..linalg.spectra import block_matrix
from ..networks.output_scale import scale_output
from .training_dynamics import Times, TrainingDynamics


class LinearizedTraining:
    """Full-batch gradient descent on a network linearised at its weights, solved exactly.

    Loss (1/M) sum |f - y|^2 / alpha^2 with f = alpha h_lin, or alpha (h_lin - h_0) where centred,
    steps theta <- theta - eta dL/dtheta. With the tangent kernel K = J J^T at the start and the
    residual r = y / alpha - h_0 (y / alpha where centred) the weights after t steps are
    theta_0 + J^T U diag(g_i(t) / lambda_i) U' r; t = infinity gives the solution of least distance
    from theta_0. No step is ever taken. Source: Lee et al. 2019 (arXiv:1902.06720), eqs. 8-11.

    Args:
        network: a module in evaluation mode, h.
        x: M training inputs.
        y: targets (M, O).
        parameters: theta_0 by name; default: the module's own.
        learning_rate: eta > 0.
        output_scale: alpha > 0.
        centred: subtract the initial function.

    Attributes:
        dynamics: the `TrainingDynamics` of the kernel, outputs stacked (output by output).
        residual: r, (M, O), float64.

    Examples:
        >>> network = ntkflow.mlp(2, [64], dtype=torch.float64)
        >>> x, y = torch.randn(5, 2).double(), torch.randn(5, 1).double()
        >>> training = ntkflow.LinearizedTraining(network, x, y, learning_rate=0.1)
        >>> bool(training.distance(math.inf) >= training.distance(10))
        True
    """

    def __init__(
        self,
        network: nn.Module,
        x: Tensor,
        y: Float[Tensor, "m o"],
        *,
        parameters: Any = None,
        learning_rate: float | int,
        output_scale: float | int = 1.0,
        centred: bool = False,
    ):
        check_tensors(x=x, y=y)
        self._model, self._x = as_model(network, parameters), x
        self.network, self.parameters = network, self._model.parameters
        self.output_scale, self.centred = output_scale, centred
        block = empirical_ntk(network, x, parameters=self.parameters).values
        self.dynamics = TrainingDynamics(
            block_matrix(block), learning_rate=learning_rate, divisor=len(x)
        )
        self.residual = y.double() / output_scale
        if not centred:
            self.residual = self.residual - self._model(self.parameters, x).detach().double()

    def train_outputs(self, t: Times) -> Float[Tensor, "*t m o"]:
        """Outputs f on the training points after t steps (a number, or a vector of T times)."""
        learned = self.dynamics.train_mean(self._stacked, t)
        return self._finish(learned, self._x)

    def outputs(self, x: Tensor, t: Times) -> Float[Tensor, "*t n o"]:
        """Outputs f at N points after t steps (a number, or a vector of T times)."""
        return self.at(x)(t)

    def at(self, x: Tensor) -> Callable[[Times], Float[Tensor, "*t n o"]]:
        """Outputs f at N points as a function of t; their kernel is computed once."""
        check_tensors(x=x)
        cross = block_matrix(
            empirical_ntk(self.network, x, self._x, parameters=self.parameters).values
        )
        return lambda t: self._finish(self.dynamics.mean(cross, self._stacked, t), x)

    def weights(self, t: float | int) -> dict[str, Tensor]:
        """Weights theta after t steps, by name."""
        filtered = self.dynamics.learned_per_eigenvalue(t) * (
            self.dynamics.eigenvectors.T @ self._stacked
        )
        coefficients = (self.dynamics.eigenvectors @ filtered).reshape(-1, len(self._x)).T
        outputs, theta = as_vectors(self.network, self._x, self.parameters)
        moved = pull_back(outputs, theta)(coefficients.reshape(-1).to(theta.dtype))
        parts = (theta + moved).split([p.numel() for p in self.parameters.values()])
        return {
            name: part.view(p.shape)
            for (name, p), part in zip(self.parameters.items(), parts, strict=True)
        }

    def distance(self, t: Times) -> Float[Tensor, "*t"]:
        """Distance |theta_t - theta_0| of the weights after t steps."""
        return self.dynamics.lazy_distance(self._stacked, t)

    @property
    def _stacked(self) -> Float[Tensor, " om"]:
        """Residuals output by output, as the rows of the kernel's matrix."""
        return self.residual.T.reshape(-1)

    def _finish(self, learned: Float[Tensor, "*t on"], x: Tensor) -> Float[Tensor, "*t n o"]:
        """Outputs f from what h has learned."""
        values = learned.reshape(*learned.shape[:-1], -1, len(x)).mT
        if not self.centred:
            values = values + self._model(self.parameters, x).detach().double()
        return scale_output(values, self.output_scale)
