"""Functions of the spectrum of a symmetric map that is known by its products alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import as_whole, check_ridge, check_shape
from ..errors import ConfigurationError, KernelError
from .estimates import Estimate
from .solving import check_symmetric

# A direction shorter than this many rounding units of the largest product is rounding.
ROUNDING = 10
# Share of the largest eigenvalue that rounding, of 16 bits too, may put below 0.
_NEGATIVE = 0.01


class Tridiagonals(NamedTuple):
    """Lanczos's matrices of c start vectors: diagonals and off-diagonals."""

    diagonals: Float[Tensor, "c s"]
    beside: Float[Tensor, "c s"]


@dataclass(frozen=True)
class SpectralDensity:
    """Quadrature of the spectrum lambda_1 ... lambda_m of a symmetric map A.

    tr f(A) = sum over i of q_i' f(A) q_i + E[z' P f(A) P z], q_i the deflated vectors, P the
    projection on what is orthogonal to them and z random signs. Each start vector has the nodes
    theta and the weights w of a Gauss rule, v' f(A) v = sum_s w_s f(theta_s), exact for polynomials
    of degree 2 s - 1.

    Standard errors are those of the mean over the random z. The error of the rule is not in them:
    compare with `at(steps)` of fewer steps, which costs nothing. A trace needs one step, a
    Frobenius norm two.

    Attributes:
        nodes: (c, s), in the units of the eigenvalues.
        weights: (c, s), not negative.
        deflated: how many of the c start vectors, the first, are not random.
        size: m.

    Examples:
        >>> density = ntkflow.spectral_density(torch.eye(5), probes=3)
        >>> value, standard_error = density.trace()
        >>> round(value.item(), 4), round(standard_error.item(), 4)
        (5.0, 0.0)
    """

    nodes: Float[Tensor, "c s"]
    weights: Float[Tensor, "c s"]
    deflated: int
    size: int
    recurrence: Tridiagonals
    norms: Float[Tensor, " c"]

    @classmethod
    def of(
        cls, recurrence: Tridiagonals, norms: Float[Tensor, " c"], deflated: int, size: int
    ) -> "SpectralDensity":
        """Gauss rules from the matrices of Lanczos's method, and squared norms of the starts."""
        diagonals, beside = recurrence
        matrices = torch.diag_embed(diagonals)
        matrices += torch.diag_embed(beside[:, 1:], 1) + torch.diag_embed(beside[:, 1:], -1)
        nodes, vectors = torch.linalg.eigh(matrices)
        weights = vectors[:, 0].square() * norms[:, None]
        return cls(nodes, weights, deflated, size, recurrence, norms)

    def at(self, steps: int) -> "SpectralDensity":
        """The same from fewer steps."""
        steps = as_whole("steps", steps, 1, self.nodes.shape[1])
        fewer = Tridiagonals(*(each[:, :steps] for each in self.recurrence))
        return self.of(fewer, self.norms, self.deflated, self.size)

    def trace_of(self, function: Callable[[Tensor], Tensor]) -> Estimate:
        """Tr f(A) = sum over i of f(lambda_i), of an elementwise function f.

        Raises:
            KernelError: if what f returns has not the shape of what it is given, or is not a number
                at one of the nodes.

        Examples:
            >>> density = ntkflow.spectral_density(torch.eye(5), probes=3)
            >>> density.trace_of(torch.exp).value.round(decimals=4)
            tensor(13.5914, dtype=torch.float64)
        """
        return self._combine(self._shares(function))

    def trace(self) -> Estimate:
        """Tr A, by Hutchinson's estimator of what is not deflated (Hutch++).

        Source: Meyer, Musco, Musco, Woodruff 2021 (arXiv:2010.09649), with vectors that are given.
        """
        return self.trace_of(lambda nodes: nodes)

    def frobenius_norm(self) -> Estimate:
        """||A||_F = sqrt(sum lambda_i^2), from the unbiased |A z|^2; the error to first order.

        Raises:
            ConfigurationError: if there is one step, which knows of z' A z alone.
        """
        self._check_squares()
        value, error = self.trace_of(torch.square)
        slope = torch.where(value > 0, 2 * value.sqrt(), 1.0)  # without an error at 0
        return Estimate(value.sqrt(), error / slope)

    def log_determinant(self, ridge: float | int = 0.0) -> Estimate:
        """Log det(A + ridge I), of a positive semi-definite A.

        Eigenvalues below 0, which rounding makes of those that are 0, count as 0. Source: Ubaru,
        Chen, Saad 2017, SIAM J. Matrix Anal. Appl. 38(4), section 3.

        Raises:
            ConfigurationError: if the ridge is below 0.
            KernelError: if an eigenvalue is below 0 by more than a hundredth of the largest.
        """
        check_ridge("ridge", ridge)
        self._check_semidefinite()
        return self.trace_of(lambda nodes: (nodes.clamp(min=0) + ridge).log())

    def effective_rank(self) -> Estimate:
        """exp(-sum p_i log p_i), p_i = lambda_i / tr A, as `ntkflow.effective_rank` of a spectrum.

        With t = tr A and e = tr(A log A) it is t exp(-e / t); the error to first order.

        Raises:
            KernelError: if an eigenvalue is below 0 by more than a hundredth of the largest.
        """
        self._check_semidefinite()
        traces, entropies = self._shares(lambda nodes: nodes), self._shares(_entropy)
        t, e = self._combine(traces).value, self._combine(entropies).value
        rank = t * (-e / t).exp()
        slopes = (1 / t + e / t**2) * traces - entropies / t
        return Estimate(rank, rank * self._combine(slopes).standard_error)

    def participation_ratio(self) -> Estimate:
        """(sum lambda_i)^2 / sum lambda_i^2; the error to first order."""
        self._check_squares()
        traces, squares = self._shares(lambda nodes: nodes), self._shares(torch.square)
        t, s = self._combine(traces).value, self._combine(squares).value
        slopes = 2 * t / s * traces - t**2 / s**2 * squares
        return Estimate(t**2 / s, self._combine(slopes).standard_error)

    def histogram(self, edges: Float[Tensor, " e"]) -> Estimate:
        """Number of eigenvalues in each interval [edges_i, edges_i+1), (e - 1,).

        Source: Lin, Saad, Yang 2016 (arXiv:1308.5467), section 3.2. A node counts wholly where it
        lies: intervals narrower than the distance of nodes tell of nodes, not of eigenvalues.

        Raises:
            KernelError: if the edges are not a vector that rises.
        """
        check_shape("edges", edges, None)
        if len(edges) < 2 or not bool((edges.diff() > 0).all()):
            raise KernelError(f"edges: {edges.tolist()} is not allowed; use two or more that rise")
        edges = edges.to(self.nodes)
        inside = (self.nodes[..., None] >= edges[:-1]) & (self.nodes[..., None] < edges[1:])
        return self._combine((self.weights[..., None] * inside).sum(1))

    def alignment(self, overlap: Float[Tensor, ""], targets: Float[Tensor, " m"]) -> Estimate:
        """<A, y y'>_F / (||A||_F |y|^2), y the targets and `overlap` = y' A y: one product.

        As `ntkflow.alignment(A, y)`; the overlap is exact, the error that of the Frobenius norm.
        """
        check_shape("targets", targets, self.size)
        norm, error = self.frobenius_norm()
        value = overlap.to(norm) / (norm * targets.to(norm).square().sum())
        return Estimate(value, value.abs() * error / norm)

    def _shares(self, function: Callable[[Tensor], Tensor]) -> Float[Tensor, " c"]:
        """V' f(A) v of every start vector; a node without weight does not count."""
        found = function(self.nodes.clone())
        if isinstance(found, Tensor):
            check_shape("function", found, *self.nodes.shape)
        shares = (found * self.weights).where(self.weights > 0, 0)
        if not shares.is_meta and bool(shares.isnan().any()):
            node = self.nodes[shares.isnan()][0].item()
            raise KernelError(f"function: it is not a number at {node:.4g}; use one that is")
        return shares.sum(1)

    def _check_semidefinite(self) -> None:
        """Raise a KernelError for an eigenvalue that no rounding makes of one that is 0."""
        known = self.nodes.where(self.weights > 0, 0)
        if not known.is_meta and bool(known.min() < -_NEGATIVE * known.abs().max()):
            raise KernelError(
                f"operator: an eigenvalue is {known.min().item():.3g} or less, the largest size "
                f"{known.abs().max().item():.3g}; use a positive semi-definite one"
            )

    def _check_squares(self) -> None:
        if self.nodes.shape[1] == 1 < self.size:
            raise ConfigurationError("steps: 1 is not allowed for sums of squares; use 2 or more")

    def _combine(self, shares: Float[Tensor, "c *shape"]) -> Estimate:
        """The deflated shares added up, and the mean of the random ones."""
        mean, error = Estimate.of(shares[self.deflated :])
        return Estimate(shares[: self.deflated].sum(0) + mean, error)


def spectral_density(
    operator: Any,
    *,
    probes: int = 16,
    steps: int = 50,
    deflate: Float[Tensor, "m k"] | None = None,
    seed: int = 0,
) -> SpectralDensity:
    """Spectrum of a symmetric map by stochastic Lanczos quadrature.

    From it come traces of any function of the map, each with its standard error: trace, Frobenius
    norm, effective rank, log-determinant, numbers of eigenvalues. All start vectors go through the
    map together; each keeps its `steps` Krylov vectors, (probes + k) steps m numbers in float64,
    against which the next one is made orthogonal twice. A vector whose Krylov space is exhausted
    stops. Source: Ubaru, Chen, Saad 2017, SIAM J. Matrix Anal. Appl. 38(4); Lin, Saad, Yang 2016
    (arXiv:1308.5467).

    Args:
        operator: `NtkOperator`, symmetric matrix, or anything with `shape`, `dtype`, `device` and
            products `operator @ (m, c)`.
        probes: random sign vectors, 2 or more; standard errors fall as probes^-1/2.
        steps: most products with each vector.
        deflate: (m, k), columns whose part of the spectrum is taken out of the random part, such
            as the vectors of `ntkflow.top_eigenpairs`: exact for any, and the better the closer to
            eigenvectors. The kernels of networks have a few eigenvalues far above the others, which
            make most of the variance.
        seed: of the signs.

    Raises:
        ConfigurationError: if the map is not square, is between two sets of rows, or a number is
            not allowed.
        KernelError: if a product is not finite, or a matrix is not symmetric.

    Examples:
        >>> network, x = ntkflow.mlp(3, [64], 2), torch.randn(50, 3)
        >>> theta = ntkflow.ntk_operator(network, x, dtype=torch.float64)  # 100 x 100
        >>> top = ntkflow.top_eigenpairs(theta, 10)
        >>> density = ntkflow.spectral_density(theta, probes=8, steps=30, deflate=top.vectors)
        >>> trace, error = density.trace()
        >>> exact = torch.trace(theta @ torch.eye(100))
        >>> bool((trace - exact).abs() < 5 * error)
        True
        >>> rank, error = density.effective_rank()
        >>> determinant, error = density.log_determinant(ridge=1e-2)
    """
    size = _square(operator)
    probes, steps = as_whole("probes", probes, 2), as_whole("steps", steps, 1)
    seed = as_whole("seed", seed, 0)
    if isinstance(operator, Tensor):
        operator = operator.detach()
    signs = 2.0 * np.random.default_rng(seed).integers(0, 2, (probes, size)) - 1
    starts = torch.from_numpy(signs.T).to(operator.device)
    deflated = 0
    if deflate is not None:
        check_shape("deflate", deflate, size, None)
        basis = torch.linalg.qr(deflate.double())[0]
        for _ in range(2):
            starts = starts - basis @ (basis.T @ starts)
        starts, deflated = torch.cat([basis, starts], dim=1), basis.shape[1]
    recurrence, norms = _lanczos(operator, starts, min(steps, size))
    return SpectralDensity.of(recurrence, norms, deflated, size)


def _square(operator: Any) -> int:
    """Size of a symmetric map."""
    if hasattr(operator, "check_symmetric"):
        operator.check_symmetric("a spectrum")
    if not isinstance(getattr(operator, "dtype", None), torch.dtype):
        raise ConfigurationError(
            f"operator: {type(operator).__name__} is not allowed; use a torch.Tensor or a map with "
            "shape, dtype, device and @"
        )
    if not operator.dtype.is_floating_point:
        raise ConfigurationError(
            f"operator: type {operator.dtype} is not allowed; use real floating-point numbers"
        )
    shape = tuple(operator.shape)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ConfigurationError(f"operator: shape {shape} is not square")
    if not shape[0]:
        raise ConfigurationError("operator: shape (0, 0) is not allowed; use one row or more")
    if isinstance(operator, Tensor) and operator.layout == torch.strided:
        check_symmetric(operator)
    return shape[0]


def _lanczos(
    operator: Any, starts: Float[Tensor, "m c"], steps: int
) -> tuple[Tridiagonals, Float[Tensor, " c"]]:
    """Lanczos's recurrence of every column, and the squared norms of the columns.

    A column that stops goes on as zeros, with the diagonal it began with: its matrix is in two
    blocks, and the second has no weight.
    """
    vectors = starts.T
    norms = vectors.norm(dim=1, keepdim=True)
    alive = norms > 0
    vectors = vectors / norms.where(alive, 1)
    basis = starts.new_zeros(len(vectors), steps, vectors.shape[1])
    diagonals, beside = (starts.new_zeros(len(vectors), steps) for _ in range(2))
    largest, unit = torch.zeros_like(norms), torch.finfo(operator.dtype).eps
    for step in range(steps):
        basis[:, step] = vectors
        products = _product(operator, vectors.T).T.contiguous()
        found = (vectors * products).sum(1)
        diagonals[:, step] = found.where(alive[:, 0], diagonals[:, 0])
        largest = torch.maximum(largest, products.norm(dim=1, keepdim=True))
        if step + 1 == steps:
            break
        for _ in range(2):
            known = basis[:, : step + 1]
            shares = known @ products[:, :, None]
            products -= (known.mT @ shares)[:, :, 0]
        lengths = products.norm(dim=1, keepdim=True)
        alive = alive & (lengths > ROUNDING * unit * largest)
        beside[:, step + 1] = lengths.where(alive, 0)[:, 0]
        vectors = (products / lengths.where(alive, 1)).where(alive, 0)
    return Tridiagonals(diagonals, beside), norms[:, 0].square()


def _product(operator: Any, vectors: Float[Tensor, "m c"]) -> Float[Tensor, "m c"]:
    """A V in float64."""
    products = (operator @ vectors.to(operator.dtype)).double()
    if not products.is_meta and not products.isfinite().all():
        raise KernelError("operator: a product with finite numbers is not finite")
    return products


def _entropy(nodes: Tensor) -> Tensor:
    """Product x log x, 0 at 0 and below."""
    return torch.special.xlogy(nodes.clamp(min=0), nodes.clamp(min=0))
