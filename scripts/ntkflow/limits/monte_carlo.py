"""Kernels at infinite width by Monte Carlo, for networks whose limits have no closed form."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from ..checks import as_whole, check_not_negative
from ..empirical.blocks import as_budget, row_slices
from ..empirical.inputs import Inputs, Several, as_inputs, call, constant
from ..empirical.kernel import empirical_ntk
from ..empirical.model import run_unchanged
from ..empirical.outputs import Pick, as_rows
from ..errors import (
    ConfigurationError,
    KernelError,
    NtkflowError,
    UnsupportedLayerError,
    first_words,
)
from ..networks.evaluation import draws_masks, uses_batch_statistics
from ..randomness import seeded, torch_seed

# Networks of each width before the first look at the errors, and the growth from look to look.
_FIRST, _GROWTH = 32, 1.5
# Rows in one forward pass, where rows do not interact.
_ROWS = 256

Draw = Callable[[int], nn.Module]


class MonteCarloKernels(NamedTuple):
    """Kernels at infinite width, one standard error for each entry, and what they were made of.

    Attributes:
        nngp: second moment of an output at initialisation.
        ntk: tangent kernel of an output.
        nngp_error: standard errors of `nngp`.
        ntk_error: standard errors of `ntk`.
        widths: those that were extrapolated from; of a single one, the mean at that width.
        samples: independent networks that were drawn of each width.
        relative_error: |errors| / |kernel| in Frobenius norms, the larger of both kernels.
        converged: whether that is as small as was asked for.

    Examples:
        >>> network, x = lambda width: ntkflow.mlp(3, [width], 8), torch.randn(2, 3)
        >>> found = ntkflow.monte_carlo_kernels(network, x, widths=(8, 16), samples=9)
        >>> found.widths, found.nngp.shape, found.nngp_error.shape
        ((8, 16), torch.Size([2, 2]), torch.Size([2, 2]))
    """

    nngp: Float[Tensor, "n1 n2"]
    ntk: Float[Tensor, "n1 n2"]
    nngp_error: Float[Tensor, "n1 n2"]
    ntk_error: Float[Tensor, "n1 n2"]
    widths: tuple[int, ...]
    samples: int
    relative_error: float
    converged: bool


def monte_carlo_kernels(
    network: Draw,
    x1: Shaped[Tensor, "n1 *shape"] | Several,
    x2: Shaped[Tensor, "n2 *shape2"] | Several | None = None,
    *,
    widths: Sequence[int] = (64, 128, 256),
    samples: int = 1000,
    precision: float | int = 0.01,
    seed: int = 0,
    output: Pick = None,
    memory_budget: int | float | None = None,
) -> MonteCarloKernels:
    """NNGP and NTK at infinite width as means over random networks, extrapolated in 1 / width.

    For networks without a known limit (gates, batch normalisation in training mode, maxima over
    space), and to check `limit_kernels`. A network f of width w with O outputs has the kernels

        K = (1/O) sum over o of f_o(x) f_o(x'),
        Theta = (1/O) sum over o of <df_o(x)/dtheta, df_o(x')/dtheta>

    and their means m_w over random networks of each width approach the limits a as a + b / w. a is
    the intercept by least squares, widths weighted by 1 / s_w^2: a linear combination sum c_w m_w,
    the same for all entries of a kernel, with s_w^2 the squared standard errors of m_w averaged
    over the entries. Many outputs lower the noise of K, which does not shrink with the width.

    The standard error of an entry is sqrt(sum c_w^2 s_w^2) with the entry's own s_w, from the
    spread of independent networks. Entries share networks, so their errors are correlated. What
    1 / w^2 contributes is not in the error; it shows when other widths give other limits. Stopping
    at a precision prefers errors that came out small, which makes them somewhat too small.

    K is the covariance of outputs, as in `limit_kernels`, if their mean is zero, as after a
    read-out with centred weights.

    Batch normalisation in training mode: the kernels are those of the function of a whole batch,
    x1 and x2 each being one, in which every row's output depends on all rows of its batch.

    Args:
        network: function from a width to a network that is drawn anew at every call, by whatever
            initialisation its modules have, in NTK parameterization if the NTK is to have a limit.
            A module is not accepted: which of its sizes are widths cannot be told.
        x1: inputs, rows first, in the forms and the type that the networks take; see
            `empirical_ntk`.
        x2: other inputs; default: x1.
        widths: different numbers; with a single one there is no extrapolation, and the result is
            the mean at that width.
        samples: most networks drawn of each width, at least 2.
        precision: |errors| / |kernel| in Frobenius norms at which to stop, once 32 networks of each
            width were drawn and both kernels are as precise; 0 draws all samples.
        seed: of all networks. Each has a random state of its own, made of the seed, its width and
            its number, whatever the other widths, `samples` and `memory_budget` are.
        output: of a network that returns several things, which one: a key, an index or a function.
        memory_budget: bytes for the gradients of one network, as in `empirical_ntk`.

    Returns:
        MonteCarloKernels in float64, on the device of the networks' outputs. If `samples` were too
        few for the precision, `converged` is False and `relative_error` tells what was reached.

    Raises:
        ConfigurationError: if an option or the inputs are not allowed, or the function returns no
            module, the same network at two calls, or networks of one size for two widths.
        UnsupportedLayerError: if `empirical_ntk` does not take the networks (dropout in training
            mode, other interacting rows than those of batch normalisation), or they fail.
        KernelError: if the kernel of a network is not finite.

    Source: Novak et al. 2019, arXiv:1810.05148, section 4 (Monte Carlo for the NNGP); Novak et al.
    2020, arXiv:1912.02803 (for both kernels); Dyer, Gur-Ari 2020, arXiv:1909.11304 (corrections in
    powers of 1 / width).

    Examples:
        >>> network, x = lambda width: ntkflow.mlp(3, [width, width], 8), torch.randn(5, 3)
        >>> found = ntkflow.monte_carlo_kernels(network, x, widths=(8, 16), samples=9)
        >>> found.ntk.shape, found.ntk_error.shape, found.samples
        (torch.Size([5, 5]), torch.Size([5, 5]), 9)
    """
    setting = _Setting(network, x1, x2, as_whole("seed", seed, 0), output, memory_budget)
    widths = _checked_widths(widths)
    samples = as_whole("samples", samples, 2)
    check_not_negative("precision", precision)
    _check_draws(setting, widths)
    found = {width: _Moments() for width in widths}
    for numbers in _rounds(samples):
        for width, number in itertools.product(widths, numbers):
            found[width].add(setting.kernels(width, number))
        values, errors = _extrapolated(found)
        reached = (errors.flatten(1).norm(dim=1) / values.flatten(1).norm(dim=1)).max().item()
        if reached <= precision:
            break
    return MonteCarloKernels(*values, *errors, widths, numbers.stop, reached, reached <= precision)


def _rounds(samples: int) -> Iterator[range]:
    """Numbers of the networks that are drawn between two looks at the errors."""
    stop = 0
    while stop < samples:
        start, stop = stop, min(samples, max(_FIRST, int(_GROWTH * stop)))
        yield range(start, stop)


def _checked_widths(widths: Sequence[int]) -> tuple[int, ...]:
    """The widths, which have to be different whole numbers from 1 on."""
    if not isinstance(widths, Sequence) or not widths or len(set(widths)) < len(widths):
        raise ConfigurationError(
            f"widths: {widths!r} is not allowed; use one or more different whole numbers, such as "
            "(64, 128, 256)"
        )
    return tuple(as_whole("widths", width, 1) for width in widths)


# Networks


@dataclass(frozen=True)
class _Setting:
    """What is the same for all networks."""

    network: Draw
    x1: Tensor | Several
    x2: Tensor | Several | None
    seed: int
    output: Pick
    memory_budget: int | float | None

    @property
    def inputs(self) -> list[Inputs]:
        """x1 and x2, or x1 alone, without graph."""
        given = {"x1": self.x1} if self.x2 is None else {"x1": self.x1, "x2": self.x2}
        return [constant(as_inputs(name, x)) for name, x in given.items()]

    def draw(self, width: int, number: int) -> nn.Module:
        """One network, from a random state of its own."""
        device = self.inputs[0].device
        with seeded(torch_seed(self.seed, "init", width, number), device):
            network = self.network(width)
        if not isinstance(network, nn.Module):
            raise ConfigurationError(
                f"network: returns a {type(network).__name__} for width {width}; use a function "
                "from a width to a torch.nn.Module"
            )
        return network

    def kernels(self, width: int, number: int) -> Float[Tensor, "2 n1 n2"]:
        """NNGP and NTK of one network."""
        network = self.draw(width, number)
        with _naming(width):
            kernels = _kernels(network, self)
        if not kernels.isfinite().all():
            raise KernelError(f"network: kernels at width {width} are not finite (draw {number})")
        return kernels


def _check_draws(setting: _Setting, widths: tuple[int, ...]) -> None:
    """Raise a ConfigurationError unless calls draw networks, of another size for another width."""
    if isinstance(setting.network, nn.Module) or not callable(setting.network):
        raise ConfigurationError(
            f"network: {type(setting.network).__name__} is not allowed; use a function from a "
            "width to a network, such as lambda width: ntkflow.mlp(784, [width])"
        )
    first, second = (list(setting.draw(widths[0], n).parameters()) for n in (0, 1))
    if all(map(torch.equal, first, second)):
        raise ConfigurationError(
            "network: two calls return the same parameters; draw a new network at every call"
        )
    for width in widths[1:]:
        wider = setting.draw(width, 0).parameters()
        if sum(p.numel() for p in wider) == sum(p.numel() for p in first):
            raise ConfigurationError(
                f"network: has as many parameters at width {width} as at width {widths[0]}; use a "
                "function whose networks are as wide as they are asked to be"
            )


@contextmanager
def _naming(width: int) -> Iterator[None]:
    """Whatever a network raises as an error in one line."""
    try:
        yield
    except (NtkflowError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise UnsupportedLayerError(
            f"network: fails at width {width}: {first_words(error)}"
        ) from error


# Kernels of one network


def _kernels(network: nn.Module, setting: _Setting) -> Float[Tensor, "2 n1 n2"]:
    """NNGP and NTK, means over the outputs."""
    inputs, whole = setting.inputs, any(map(uses_batch_statistics, network.modules()))
    if whole:
        ntk = _batch_ntk(network, setting)
    else:
        options = dict(output=setting.output, memory_budget=setting.memory_budget)
        ntk = empirical_ntk(network, setting.x1, setting.x2, outputs="mean", **options).values
    step = max(map(len, inputs)) if whole else _ROWS
    f = [_outputs(network, x, setting.output, step).double() for x in inputs]
    return torch.stack([f[0] @ f[-1].mT / f[0].shape[1], ntk.double()])


@torch.no_grad()
def _outputs(network: nn.Module, x: Inputs, output: Pick, step: int) -> Float[Tensor, "n o"]:
    """Outputs of rows, so many at once."""

    def work(function: Callable) -> Tensor:
        slices = row_slices(0, len(x), step)
        return torch.cat([_applied(function, x[i], output) for i in slices])

    return run_unchanged(network, dict(network.named_parameters()), work)


def _applied(function: Callable, x: Inputs, output: Pick) -> Float[Tensor, "n o"]:
    return as_rows(call(function, x.clone()), len(x), output)


def _batch_ntk(network: nn.Module, setting: _Setting) -> Float[Tensor, "n1 n2"]:
    """NTK of the function of a whole batch, by one backward pass for each row and output."""
    _check_no_masks(network)
    leaves = {
        name: p.detach().requires_grad_()
        for name, p in network.named_parameters()
        if p.requires_grad
    }

    def work(function: Callable) -> Tensor:
        with torch.enable_grad():
            f = [_applied(function, x, setting.output) for x in setting.inputs]
            return _mean_products(f, list(leaves.values()), setting.memory_budget)

    fixed = {name: p.detach() for name, p in network.named_parameters()}
    return run_unchanged(network, fixed | leaves, work)


def _mean_products(
    f: list[Float[Tensor, "_ o"]], leaves: list[Tensor], memory_budget: int | float | None
) -> Float[Tensor, "n1 n2"]:
    """Mean over outputs of products of gradients, as many rows at once as fit the budget."""
    first, last = f[0], f[-1]
    if first.shape[1] != last.shape[1]:
        raise UnsupportedLayerError(
            f"network: has {first.shape[1]} output(s) for a row of x1 and {last.shape[1]} for one "
            "of x2; give output= (an index or a function that leaves as many of both)"
        )
    row_bytes = sum(p.numel() * p.element_size() for p in leaves)
    step = max(1, as_budget(memory_budget, first.device) // (2 * row_bytes))
    kernel = first.new_zeros(len(first), len(last), dtype=torch.float64)
    for o in range(first.shape[1]):
        for i in row_slices(0, len(first), step):
            left = _gradients(first[i, o], leaves)
            for j in row_slices(0, len(last), step):
                right = left if len(f) == 1 and i == j else _gradients(last[j, o], leaves)
                kernel[i, j] += left @ right.mT
    return kernel / first.shape[1]


def _gradients(outputs: Float[Tensor, " n"], leaves: list[Tensor]) -> Float[Tensor, "n p"]:
    """Gradient of each output, as a row."""
    options = dict(retain_graph=True, materialize_grads=True)
    each = (torch.autograd.grad(output, leaves, **options) for output in outputs.unbind())
    return torch.stack([torch.cat([part.flatten() for part in parts]) for parts in each])


def _check_no_masks(network: nn.Module) -> None:
    for name, layer in network.named_modules():
        if draws_masks(layer):
            raise UnsupportedLayerError(
                f"layer {name!r}: {type(layer).__name__} in training mode makes the kernel depend "
                "on chance; use its eval()"
            )


# Statistics


class _Moments:
    """Mean and squared standard error of numbers that come one after the other.

    Source: Welford 1962 (Technometrics 4).
    """

    def __init__(self):
        self.count, self.mean, self.squares = 0, torch.tensor(0.0), torch.tensor(0.0)

    def add(self, values: Tensor) -> None:
        """Take one more of them in."""
        self.count += 1
        step = values - self.mean
        self.mean = self.mean + step / self.count
        self.squares = self.squares + step * (values - self.mean)

    @property
    def variance(self) -> Tensor:
        """Of the mean."""
        return self.squares / (self.count * (self.count - 1))


def _extrapolated(
    found: Mapping[int, _Moments],
) -> tuple[Float[Tensor, "2 n1 n2"], Float[Tensor, "2 n1 n2"]]:
    """Limits of both kernels, and their standard errors."""
    means = torch.stack([moments.mean for moments in found.values()], dim=1)
    variances = torch.stack([moments.variance for moments in found.values()], dim=1)
    inverse = 1 / torch.tensor(list(found), dtype=means.dtype, device=means.device)
    c = torch.stack([_intercept(inverse, each.mean((1, 2))) for each in variances])
    errors = torch.einsum("kw,kwij->kij", c.square(), variances).sqrt()
    return torch.einsum("kw,kwij->kij", c, means), errors


def _intercept(x: Float[Tensor, " w"], variances: Float[Tensor, " w"]) -> Float[Tensor, " w"]:
    """The c for which sum c y is the intercept of the line through (x, y) by least squares.

    Widths are weighted by 1 / variance; those without any, by a large number.
    """
    most = variances.max().clamp(min=torch.finfo(variances.dtype).tiny)
    weights = 1 / (variances / most).clamp(min=1e-9)
    weights = weights / weights.sum()
    if len(x) == 1:
        return weights
    centred = x - (weights * x).sum()
    slope = weights * centred / (weights * centred.square()).sum()
    return weights - (weights * x).sum() * slope
