"""How lazy training is: operator norms of a network's first and second derivative, and kappa."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .vectors import as_vectors, pull_back, push_forward, second_derivative

STARTS = 3  # of the search for the second derivative's norm, which has local maxima


@dataclass(frozen=True)
class Kappa:
    """Chizat and Bach's measure of laziness and its factors.

    Attributes:
        kappa: distance x second_derivative / jacobian^2; training is lazy where it is << 1. NaN
            where both derivatives vanish, as in a ReLU network whose neurons are all silent, and
            infinite where only the first does.
        distance: |f(x; theta_0) - y| on the data set.
        jacobian: operator norm of the first derivative of f.
        second_derivative: operator norm of the second derivative of f.

    Examples:
        >>> network, x = ntkflow.mlp(1, [32], activation="tanh"), torch.tensor([[1.0], [-1.0]])
        >>> found = ntkflow.kappa(network, x, torch.zeros(2, 1))
        >>> ratio = found.distance * found.second_derivative / found.jacobian**2
        >>> abs(found.kappa / ratio - 1) < 1e-6
        True
    """

    kappa: float
    distance: float
    jacobian: float
    second_derivative: float


def kappa(
    network: nn.Module | Callable,
    x: Tensor,
    y: Tensor,
    *,
    parameters: Any = None,
    output_scale: float | int = 1.0,
    centred: bool = False,
    tolerance: float = 1e-8,
    max_iterations: int = 1000,
) -> Kappa:
    """Laziness kappa = |f - y| |D^2 f| / |D f|^2 of a network on a data set at its weights.

    Relative change of the tangent over the training path that the linearised network takes, for
    the squared loss. f = alpha h, or alpha (h - h_0) where centred; then kappa = kappa_h / alpha,
    kappa_h being that of h - h_0. Norms are Euclidean over samples and outputs, and operator norms
    in them; dividing them all by the number of samples would change nothing. Source: Chizat, Bach
    2018 (arXiv:1812.07956), eq. 6.

    Args:
        network: a module in evaluation mode, h, or a function of (parameters, x).
        x: N inputs.
        y: targets (N, O).
        parameters: as in `ntkflow.empirical_ntk`.
        output_scale: alpha > 0.
        centred: subtract the initial function, which leaves the distance |y|.
        tolerance: relative, at which the power iterations stop.
        max_iterations: of the power iterations.

    Examples:
        >>> network = ntkflow.mlp(1, [32], activation="tanh")
        >>> x, y = torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0], [2.0]])
        >>> one, ten = (ntkflow.kappa(network, x, y, output_scale=a, centred=True) for a in (1, 10))
        >>> round(one.kappa / ten.kappa, 3)
        10.0
    """
    outputs, theta = as_vectors(network, x, parameters)
    limits = dict(tolerance=tolerance, max_iterations=max_iterations)
    start = torch.zeros_like(y) if centred else outputs(theta).reshape(y.shape) * output_scale
    distance = (start - y).norm().item()
    first = output_scale * _jacobian_norm(outputs, theta, **limits)
    second = output_scale * _second_derivative_norm(outputs, theta, **limits)
    if first == 0:
        return Kappa(math.inf if distance * second > 0 else math.nan, distance, first, second)
    return Kappa(distance * second / first**2, distance, first, second)


def jacobian_norm(
    network: nn.Module | Callable,
    x: Tensor,
    *,
    parameters: Any = None,
    tolerance: float = 1e-8,
    max_iterations: int = 1000,
) -> float:
    """Operator norm |J| of df/dtheta on a data set: the root of the kernel's largest eigenvalue.

    Power iteration c <- J J^T c, with two backward passes a step.

    Args:
        network: a module in evaluation mode, or a function of (parameters, x).
        x: N inputs.
        parameters: as in `ntkflow.empirical_ntk`.
        tolerance: relative change of the norm at which the iteration stops.
        max_iterations: largest number of steps.

    Examples:
        >>> x = torch.tensor([[3.0, 4.0]])
        >>> round(ntkflow.jacobian_norm(torch.nn.Linear(2, 1, bias=False), x), 5)
        5.0
    """
    outputs, theta = as_vectors(network, x, parameters)
    return _jacobian_norm(outputs, theta, tolerance=tolerance, max_iterations=max_iterations)


def second_derivative_norm(
    network: nn.Module | Callable,
    x: Tensor,
    *,
    parameters: Any = None,
    tolerance: float = 1e-8,
    max_iterations: int = 1000,
) -> float:
    """Operator norm of D^2 f on a data set: the largest c . D^2 f(u, v) over unit vectors.

    For one output of one sample it is the largest |eigenvalue| of the Hessian. Alternating
    maximisation over u, v and the output direction c, each by derivatives of derivatives, never a
    Hessian; it never falls, and for several outputs the best of a few random starts is taken
    (a lower bound where all of them miss the maximum). Source: De Lathauwer, De Moor, Vandewalle
    2000, section 3 (higher-order power method).

    Args:
        network: a module in evaluation mode, or a function of (parameters, x).
        x: N inputs.
        parameters: as in `ntkflow.empirical_ntk`.
        tolerance: relative change of the norm at which the iteration stops.
        max_iterations: largest number of steps of one start.

    Examples:
        >>> network = lambda p, x: (p["a"] * p["b"] * x)  # its Hessian is [[0, x], [x, 0]]
        >>> weights = {"a": torch.tensor(0.3), "b": torch.tensor(2.0)}
        >>> x = torch.tensor([[-5.0]])
        >>> round(ntkflow.second_derivative_norm(network, x, parameters=weights), 5)
        5.0
    """
    outputs, theta = as_vectors(network, x, parameters)
    return _second_derivative_norm(
        outputs, theta, tolerance=tolerance, max_iterations=max_iterations
    )


Function = Callable[[Tensor], Tensor]


def _jacobian_norm(
    outputs: Function, theta: Tensor, *, tolerance: float, max_iterations: int
) -> float:
    pull, push = pull_back(outputs, theta), push_forward(outputs, theta)
    direction = _random_unit(outputs(theta), 0)
    squared = 0.0
    for _ in range(max_iterations):
        image = push(pull(direction))
        before, squared = squared, image.norm().item()
        if abs(squared - before) <= tolerance * squared:
            break
        direction = image / squared
    return squared**0.5


def _second_derivative_norm(
    outputs: Function, theta: Tensor, *, tolerance: float, max_iterations: int
) -> float:
    count = len(outputs(theta))
    return max(
        _alternate(outputs, theta, start, count, tolerance, max_iterations)
        for start in range(STARTS if count > 1 else 1)
    )


def _alternate(outputs, theta, start: int, count: int, tolerance, max_iterations) -> float:
    """One run of the alternating maximisation of c . D^2 f(u, v)."""
    c, v = _random_unit(theta.new_zeros(count), 2 * start), _random_unit(theta, 2 * start + 1)
    norm = 0.0
    for _ in range(max_iterations):
        u = _unit(_hessian_product(outputs, theta, c, v))
        v = _hessian_product(outputs, theta, c, u)
        before, norm = norm, v.norm().item()
        v = _unit(v)
        if count > 1:
            image = second_derivative(outputs, theta, u, v)
            norm, c = image.norm().item(), _unit(image)
        if norm - before <= tolerance * norm:
            break
    return norm


def _hessian_product(outputs: Function, theta: Tensor, c: Tensor, v: Tensor) -> Tensor:
    """Product of the Hessian of c . f with v."""
    leaf = theta.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(outputs(leaf) @ c, leaf, create_graph=True)
        if not slope.requires_grad:  # outputs linear in the weights
            return torch.zeros_like(v)
        return torch.autograd.grad(slope, leaf, v)[0]


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm().clamp(min=torch.finfo(vector.dtype).tiny)


def _random_unit(like: Tensor, seed: int) -> Tensor:
    """A random direction, the same every time."""
    generator = torch.Generator().manual_seed(seed)
    return _unit(torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device))
