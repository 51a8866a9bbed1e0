"""The kernel as a linear map that is never formed, and an estimate of its trace."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import scipy  # its parts load when they are used
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.utils import _pytree

from ..checks import as_whole, check_tensors
from ..errors import ConfigurationError, UnsupportedLayerError
from ..linalg.estimates import Estimate
from .complexes import in_precision
from .differential import Operator, as_operator
from .inputs import Inputs, Several, apply, as_inputs, constant
from .jacobian_map import Jacobians
from .kernel import pose
from .methods import Refusal, refusing
from .operator_proof import find_jacobians, plain_jacobians
from .outputs import Pick
from .precision import check_dtype
from .selection import Outputs, as_mapping, select_parameters
from .task import Task

Found = TypeVar("Found")


def ntk_operator(
    network: nn.Module | Callable,
    x1: Shaped[Tensor, "n1 *shape"] | Several,
    x2: Shaped[Tensor, "n2 *shape2"] | Several | None = None,
    *,
    parameters: Any = None,
    outputs: Outputs = "block",
    output: Pick = None,
    operator: Operator | None = None,
    dtype: torch.dtype | None = None,
    memory_budget: int | float | None = None,
) -> "NtkOperator":
    """Block kernel Theta = J(x1) J(x2)^T as a linear map, applied as J(x1) (J(x2)^T v).

    One product costs about two gradients of a loss on all rows. Where the graphs of all rows fit
    the budget they are built once; else rows go chunk by chunk for every product of up to eight
    vectors, by a backward pass and by dual numbers, and no graph is kept.

    Both passes are compared with plain autograd on two rows, on up to four more where a parameter
    acts on neither, and outputs in a batch with those of single rows. Where torch cannot
    differentiate twice, or finds something else then, the rows of J are formed by one backward pass
    for each row and output, once if they fit the budget, else twice for every product: right, and
    slow.

    Args:
        network: module in evaluation mode, or function of (parameters, x); see `empirical_ntk`.
        x1: N1 inputs, rows first: a tensor, or several in a tuple or dict, as in `empirical_ntk`.
        x2: N2 other inputs; default: x1, a symmetric operator.
        parameters: as in `empirical_ntk`.
        outputs: "block", all O outputs; an int, that output alone; a list of S ints, the block of
            these.
        output: of a network that returns several things, which one: a key, an index or a function.
        operator: differential operator of the network, in place of its outputs, as in
            `empirical_ntk`.
        dtype: type to cast parameters and inputs to; float64 for small residuals.
        memory_budget: bytes for the graphs; at least one row always is handled. Default: 1 GiB, on
            a GPU half of what is free.

    Returns:
        `NtkOperator` of shape (N1 O, N2 O); of S outputs (N1 S, N2 S), of one (N1, N2).

    Raises:
        ConfigurationError: if an option, the parameters or the inputs are not allowed.
        UnsupportedLayerError: as `empirical_ntk`, if rows interact, the network draws random
            numbers, is in training mode or returns anything but real numbers (N, ...).

    Examples:
        >>> network, x, y = ntkflow.mlp(3, [64], 2), torch.randn(5, 3), torch.zeros(5, 2)
        >>> theta = ntkflow.ntk_operator(network, x, dtype=torch.float64)
        >>> residual = (network(x) - y).double().flatten()
        >>> (theta @ residual).shape  # -df/dt under gradient flow of |f - y|^2 / 2
        torch.Size([10])
        >>> cross = ntkflow.ntk_operator(network, torch.randn(4, 3), x, outputs=1)
        >>> cross.shape, (cross.T @ torch.ones(4)).shape
        ((4, 5), torch.Size([5]))
    """
    x1, x2 = as_inputs("x1", x1), None if x2 is None else as_inputs("x2", x2)
    check_dtype(dtype)
    with torch.inference_mode(False), torch.enable_grad():
        if dtype is not None:
            network, parameters = _cast(network, parameters, dtype)
            x1, x2 = _cast_inputs(x1, dtype), None if x2 is None else _cast_inputs(x2, dtype)
        options = dict(parameters=parameters, output=output, operator=as_operator(operator))
        options |= dict(dtype=None, by_layer=False, memory_budget=memory_budget)
        task, _ = pose(network, x1, x2, outputs, conventions=("block",), **options)
        # Vectors have the type of the outputs, that of sums of kernels is wider.
        task = replace(task, like=task.like.to(task.dtype))
        return NtkOperator(task, find_jacobians(task))


def _cast(network: nn.Module | Callable, parameters: Any, dtype: torch.dtype) -> tuple:
    """Copies in another type; a module's buffers and fixed parameters follow."""
    if isinstance(network, nn.Module):
        parameters = as_mapping(parameters)
    if not isinstance(network, nn.Module) or isinstance(parameters, Mapping):
        parameters = _pytree.tree_map_only(
            Tensor,
            lambda p: constant(p).to(dtype.to_complex() if p.is_complex() else dtype, copy=True),
            parameters,
        )
    elif parameters is not None:
        parameters = list(select_parameters(network, parameters))
    if not isinstance(network, nn.Module):
        return network, parameters
    try:
        copied = copy.deepcopy(network)._apply(partial(in_precision, dtype=dtype))
    except (RuntimeError, TypeError) as error:  # a tensor that belongs to a graph, a lock
        words = str(error).splitlines()[0]
        raise UnsupportedLayerError(
            f"network: cannot be copied ({words}); cast it yourself and leave out dtype="
        ) from error
    for p, copy_of in zip(network.parameters(), copied.parameters(), strict=True):
        for hook in (p._backward_hooks or {}).values():
            copy_of.register_hook(hook)
    return copied, parameters


def _cast_inputs(x: Inputs, dtype: torch.dtype) -> Inputs:
    return apply(lambda t: t.to(dtype) if t.is_floating_point() else t, constant(x))


class NtkOperator:
    """Map J(x1) J(x2)^T between vectors in the order of f(x).flatten().

    Entry n S + s of a vector belongs to row n and the s-th of S outputs, so that the dense
    equivalent is `empirical_ntk(network, x1, x2).values.permute(2, 0, 3, 1).reshape(N1 * O, -1)`.

    Attributes:
        shape: (N1 S, N2 S).
        dtype: of the network's outputs.
        device: of the network's outputs.
        symmetric: whether x2 is x1; the operator is positive semi-definite then.
        products: vectors that it was applied to so far.

    Examples:
        >>> network, x = ntkflow.mlp(3, [64], 2), torch.randn(5, 3)
        >>> theta = ntkflow.ntk_operator(network, x)
        >>> theta.shape, theta.symmetric, (theta @ torch.ones(10)).shape
        ((10, 10), True, torch.Size([10]))
    """

    def __init__(self, task: Task, jacobians: Jacobians):
        self._task, self._jacobians = task, jacobians
        self._versions = _versions(task)
        self.dtype, self.device = task.like.dtype, task.like.device
        self.shape = tuple(len(x) * len(task.selected) for x in (task.x1, task.other))
        self.symmetric, self.products = task.x2 is None, 0

    @property
    def method(self) -> str:
        """How products are computed: "double_backward", "forward_mode" where graphs of J^T v of all
        rows do not fit the budget, or "autograd" where these are not right.
        """
        return self._jacobians.method

    @property
    def T(self) -> "NtkOperator":
        """The adjoint, J(x2) J(x1)^T."""
        if self.symmetric:
            return self
        adjoint, (method, left, right) = copy.copy(self), self._jacobians
        adjoint._task = replace(self._task, x1=self._task.other, x2=self._task.x1)
        adjoint._jacobians, adjoint.shape = Jacobians(method, right, left), self.shape[::-1]
        return adjoint

    def __matmul__(self, vectors: Shaped[Tensor, "m *k"]) -> Float[Tensor, "m2 *k"]:
        """Apply to one vector (N2 S,), or to each column of (N2 S, k), in the operator's type."""
        self._check_vectors(vectors)
        with torch.inference_mode(False):
            vectors = constant(vectors).to(self.dtype)
            self.products += vectors.shape[1] if vectors.ndim == 2 else 1
            if vectors.ndim == 1:
                return self._run(lambda jacobians: _apply(jacobians, vectors[:, None]))[:, 0]
            products = vectors.new_empty(self.shape[0], vectors.shape[1])
            step = self._task.vectors_together
            for first in range(0, vectors.shape[1], step):
                some = slice(first, first + step)
                products[:, some] = self._run(lambda j, v=vectors[:, some]: _apply(j, v))
            return products

    def _check_vectors(self, vectors: Tensor) -> None:
        check_tensors(vectors=vectors)
        if vectors.ndim not in (1, 2) or len(vectors) != self.shape[1]:
            raise ConfigurationError(
                f"vectors: shape {tuple(vectors.shape)} does not fit an operator {self.shape}"
            )
        if vectors.is_complex() or vectors.device != self.device:
            raise ConfigurationError(
                f"vectors: {vectors.dtype} on {vectors.device} is not allowed; use real numbers on "
                f"{self.device}"
            )

    def trace(self, *, samples: int = 32, seed: int = 0) -> Estimate:
        """Trace by Hutchinson's estimator: mean of |J^T z|^2 over random signs z.

        Source: Hutchinson 1989, Communications in Statistics 18(3). The standard error is that of
        the mean over `samples` >= 2 independent z.

        Raises:
            ConfigurationError: if `samples` is no whole number from 2 on, or the operator is not
                symmetric.
        """
        samples = as_whole("samples", samples, 2)
        self.check_symmetric("a trace")
        stream = np.random.default_rng(as_whole("seed", seed, 0))
        signs = torch.from_numpy(2.0 * stream.integers(0, 2, (samples, self.shape[0])) - 1)
        squares: list[Tensor] = []
        for some in signs.split(self._task.vectors_together):
            vectors = some.T.to(device=self.device, dtype=self.dtype)
            pulled = self._run(lambda jacobians, z=vectors: jacobians.right.pull(z))
            squares += [sum(part.square().sum() for part in each) for each in pulled]
        return Estimate.of(squares)

    def check_symmetric(self, what: str) -> None:
        """Raise a ConfigurationError if rows x2 were given."""
        if not self.symmetric:
            raise ConfigurationError(
                f"x2: {what} is of a symmetric operator; leave x2 out, or take singular values, "
                "scipy.sparse.linalg.svds(operator.to_scipy())"
            )

    def to_scipy(self) -> "scipy.sparse.linalg.LinearOperator":
        """The same map on NumPy arrays, for scipy.sparse.linalg."""
        if self.dtype not in (torch.float32, torch.float64):
            raise ConfigurationError(
                f"dtype: {self.dtype} is not one of SciPy's solvers; use ntk_operator(..., "
                "dtype=torch.float32)"
            )
        forth, back = (_on_arrays(operator) for operator in (self, self.T))
        return scipy.sparse.linalg.LinearOperator(
            self.shape,
            matvec=forth,
            rmatvec=back,
            matmat=forth,
            rmatmat=back,
            dtype=torch.empty(0, dtype=self.dtype).numpy().dtype,
        )

    def _run(self, work: Callable[[Jacobians], Found]) -> Found:
        """What `work` returns; by plain autograd once torch has no second derivative of some rows.

        Raises:
            ConfigurationError: if the network was trained, or x written into, since it was made.
        """
        if _versions(self._task) != self._versions:
            raise ConfigurationError(
                "network: it or x was changed in place since the operator was made; make a new one"
            )
        try:
            with refusing(self.method), torch.inference_mode(False):
                return work(self._jacobians)
        except Refusal:
            if self.method == "autograd":
                raise
        self._jacobians = plain_jacobians(self._task)
        return self._run(work)


def _apply(jacobians: Jacobians, vectors: Tensor) -> Tensor:
    """Theta v, of v made 1 in size: a backward pass may be linear only up to some size."""
    size = vectors.abs().amax(0)
    size = size.where(size > 0, 1)
    return jacobians.left.push(jacobians.right.pull(vectors / size)) * size


def _versions(task: Task) -> int:
    """How often the tensors of network and inputs were written into."""
    module = task.model.module
    held = [] if module is None else [*module.parameters(), *module.buffers()]
    given = _pytree.tree_leaves([task.x1, task.x2, task.model.parameters])
    tensors = [each for each in [*held, *given] if isinstance(each, Tensor)]
    return sum(each._version for each in tensors if not each.is_inference())


def _on_arrays(operator: NtkOperator) -> Callable[[np.ndarray], np.ndarray]:
    """Products with NumPy arrays."""

    def product(vectors: np.ndarray) -> np.ndarray:
        given = torch.tensor(np.ascontiguousarray(vectors), device=operator.device)
        return (operator @ given).cpu().numpy()

    return product
