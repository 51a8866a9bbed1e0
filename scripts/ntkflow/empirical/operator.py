"""The kernel as a linear map that is never formed, its trace, and its leading eigenpairs."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy  # its parts load when they are used
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.utils import _pytree

from ..errors import ConfigurationError, NtkflowError
from .blocks import as_budget, row_slices
from .inputs import Inputs, Several, apply, as_inputs, constant
from .model import Model, as_model


class TraceEstimate(NamedTuple):
    """Estimate of a trace and its standard error, both scalars."""

    value: Float[Tensor, ""]
    standard_error: Float[Tensor, ""]


class Eigenpairs(NamedTuple):
    """Leading eigenvalues, descending, their eigenvectors as columns, and |A u - lambda u|."""

    values: Float[Tensor, " k"]
    vectors: Float[Tensor, "m k"]
    residual_norms: Float[Tensor, " k"]


def ntk_operator(
    network: nn.Module | Callable,
    x: Shaped[Tensor, "n *shape"] | Several,
    *,
    parameters: Any = None,
    dtype: torch.dtype | None = None,
    memory_budget: int | float | None = None,
) -> "NtkOperator":
    """Block kernel Theta = J J^T of the rows x as a linear map, applied as J (J^T v).

    One product costs about two passes through the network. Where the graph of all rows fits the
    budget it is built once, else chunk by chunk for every product.

    Args:
        network: module in evaluation mode, or function of (parameters, x); see `empirical_ntk`.
        x: N inputs, rows first: a tensor, or several in a tuple or dict, as in `empirical_ntk`.
        parameters: as in `empirical_ntk`.
        dtype: type to cast parameters and inputs to; float64 for small residuals.
        memory_budget: bytes for the graphs; at least one row always is handled. Default: 1 GiB, on
            a GPU half of what is free.

    Returns:
        `NtkOperator` of shape (N O, N O).

    Raises:
        ConfigurationError: if the parameters or the inputs are not allowed.
        UnsupportedLayerError: if batch normalisation or dropout is in training mode.

    Example:
        >>> network, x, y = ntkflow.mlp(3, [64], 2), torch.randn(5, 3), torch.zeros(5, 2)
        >>> theta = ntkflow.ntk_operator(network, x, dtype=torch.float64)
        >>> residual = (network(x) - y).double().flatten()
        >>> (theta @ residual).shape  # -df/dt under gradient flow of |f - y|^2 / 2
        torch.Size([10])
    """
    x = constant(as_inputs("x", x))
    if dtype is not None:
        network, parameters, x = _cast(network, parameters, x, dtype)
    budget = as_budget(memory_budget, x.device)
    return NtkOperator(as_model(network, parameters), x, budget)


def _cast(network, parameters: Any, x: Inputs, dtype: torch.dtype) -> tuple:
    """Copies in another type; a module's buffers and fixed parameters follow."""
    if isinstance(network, nn.Module):
        network = copy.deepcopy(network).to(dtype)
    if parameters is not None:
        parameters = _pytree.tree_map(lambda p: p.to(dtype), parameters)
    return network, parameters, apply(lambda t: t.to(dtype) if t.is_floating_point() else t, x)


class NtkOperator:
    """Symmetric, positive semi-definite map J J^T on vectors in the order of f(x).flatten().

    Entry n O + o of a vector belongs to output o of row n, so that the dense equivalent is
    `empirical_ntk(network, x).values.permute(2, 0, 3, 1).reshape(N * O, N * O)`.

    Attributes:
        shape: (N O, N O).
        dtype: of the network's outputs.
        device: of the network's outputs.
    """

    def __init__(self, model: Model, x: Inputs, memory_budget: int):
        like = model.first(x)
        self.dtype, self.device = like.dtype, like.device
        self.shape = (len(x) * like.shape[1],) * 2
        self._outputs = like.shape[1]
        self._model, self._x = model, x
        # The graph of J^T v, which J w needs, keeps about as much again as that of f.
        self._rows = max(1, memory_budget // (3 * model.row_bytes(x)))
        self._whole = _Graph(model, x) if len(x) <= self._rows else None

    def __matmul__(self, vectors: Float[Tensor, "m *k"]) -> Float[Tensor, "m *k"]:
        """Apply to one vector (N O,), or to each column of (N O, k)."""
        if vectors.ndim not in (1, 2) or len(vectors) != self.shape[0]:
            raise ConfigurationError(
                f"vectors: shape {tuple(vectors.shape)} does not fit an operator {self.shape}"
            )
        if vectors.ndim == 1:
            return self._push(self._pull(vectors))
        columns = [self._push(self._pull(column)) for column in vectors.unbind(1)]
        return torch.stack(columns, dim=1)

    def trace(self, *, samples: int = 32, seed: int = 0) -> TraceEstimate:
        """Trace by Hutchinson's estimator: mean of |J^T z|^2 over random signs z.

        Source: Hutchinson 1989, Communications in Statistics 18(3). The standard error is that of
        the mean over `samples` >= 2 independent z.
        """
        if samples < 2:
            raise ConfigurationError(f"samples: {samples} is not allowed; use at least 2")
        stream = np.random.default_rng(seed)
        squares = []
        for _ in range(samples):
            signs = torch.from_numpy(2.0 * stream.integers(0, 2, self.shape[0]) - 1)
            pulled = self._pull(signs.to(device=self.device, dtype=self.dtype))
            squares.append(sum(part.square().sum() for part in pulled))
        values = torch.stack(squares)
        return TraceEstimate(values.mean(), values.std() / samples**0.5)

    def to_scipy(self) -> "scipy.sparse.linalg.LinearOperator":
        """The same map on NumPy arrays, for scipy.sparse.linalg."""

        def apply(vectors: np.ndarray) -> np.ndarray:
            given = torch.as_tensor(vectors, dtype=self.dtype, device=self.device)
            return (self @ given).cpu().numpy()

        dtype = torch.empty(0, dtype=self.dtype).numpy().dtype
        return scipy.sparse.linalg.LinearOperator(
            self.shape, matvec=apply, rmatvec=apply, matmat=apply, dtype=dtype
        )

    def _pull(self, vector: Float[Tensor, " m"]) -> list[Tensor]:
        """J^T v, one tensor per parameter."""
        signal = vector.view(-1, self._outputs)
        total: list[Tensor] = []
        for rows, graph in self._graphs():
            parts = graph.pull(signal[rows])
            total = [t + p for t, p in zip(total, parts, strict=True)] if total else parts
        return total

    def _push(self, direction: Sequence[Tensor]) -> Float[Tensor, " m"]:
        """J w."""
        parts = [graph.push(direction) for _, graph in self._graphs()]
        return torch.cat(parts).flatten()

    def _graphs(self):
        if self._whole is not None:
            yield slice(None), self._whole
            return
        for rows in row_slices(0, len(self._x), self._rows):
            yield rows, _Graph(self._model, self._x[rows])


class _Graph:
    """Graphs of f and of J^T v for some rows, kept to be run many times.

    J^T v is linear in v, so its own derivative in the direction w is J w: two reverse passes give
    what a forward pass would, without recomputing the activations.
    """

    @torch.enable_grad()
    def __init__(self, model: Model, x: Inputs):
        leaves = {name: p.detach().requires_grad_() for name, p in model.parameters.items()}
        self.parameters = list(leaves.values())
        self.outputs = model(leaves, x)
        self.signal = torch.zeros_like(self.outputs, requires_grad=True)
        self.pulled = torch.autograd.grad(
            self.outputs, self.parameters, self.signal, create_graph=True, materialize_grads=True
        )

    def pull(self, signal: Float[Tensor, "n o"]) -> list[Tensor]:
        return list(
            torch.autograd.grad(
                self.outputs, self.parameters, signal, retain_graph=True, materialize_grads=True
            )
        )

    def push(self, direction: Sequence[Tensor]) -> Float[Tensor, "n o"]:
        pairs = zip(self.pulled, direction, strict=True)
        pulled, used = zip(*((p, w) for p, w in pairs if p.requires_grad), strict=True)
        return torch.autograd.grad(pulled, self.signal, used, retain_graph=True)[0]


def top_eigenpairs(
    operator: NtkOperator | Float[Tensor, "m m"],
    k: int = 10,
    *,
    tolerance: float = 1e-8,
    max_iterations: int | None = None,
    seed: int = 0,
) -> Eigenpairs:
    """Largest k eigenvalues of a symmetric map by implicitly restarted Lanczos (ARPACK).

    Args:
        operator: `NtkOperator`, or a symmetric matrix.
        k: how many, below the size of the operator.
        tolerance: relative accuracy asked of the eigenvalues; rounding in the operator's own type
            limits the residuals (float32: about 1e-6 of the largest eigenvalue).
        max_iterations: restarts before giving up; default: ten times the size.
        seed: of the start vector.

    Returns:
        `Eigenpairs` with the residual norms |A u - lambda u| computed anew.

    Raises:
        ConfigurationError: if k does not lie between 1 and the size less one.
        NtkflowError: if the iteration does not converge.

    Example:
        >>> network, x = ntkflow.mlp(3, [64], 2), torch.randn(50, 3)
        >>> theta = ntkflow.ntk_operator(network, x, dtype=torch.float64)  # 100 x 100
        >>> found = ntkflow.top_eigenpairs(theta, 3)
        >>> found.values.shape, found.vectors.shape
        (torch.Size([3]), torch.Size([100, 3]))
        >>> bool((found.residual_norms <= 1e-6 * found.values[0]).all())
        True
    """
    size = operator.shape[0]
    if not 1 <= k < size:
        raise ConfigurationError(f"k: {k} is not allowed; use 1 to {size - 1}")
    start = np.random.default_rng(seed).standard_normal(size)
    matrix = operator.to_scipy() if isinstance(operator, NtkOperator) else operator.cpu().numpy()
    try:
        found = scipy.sparse.linalg.eigsh(
            matrix,
            k,
            which="LA",
            v0=start.astype(matrix.dtype),
            tol=tolerance,
            maxiter=max_iterations,
        )
    except scipy.sparse.linalg.ArpackNoConvergence as error:
        raise NtkflowError(
            f"top_eigenpairs: {len(error.eigenvalues)} of {k} eigenvalues converged; "
            "allow more iterations or a larger tolerance"
        ) from error
    values, vectors = (torch.as_tensor(each, device=operator.device) for each in found)
    values, vectors = values.flip(0), vectors.flip(1)
    residuals = operator @ vectors - vectors * values
    return Eigenpairs(values, vectors, residuals.norm(dim=0))
