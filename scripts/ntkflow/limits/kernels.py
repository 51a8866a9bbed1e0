"""Limit kernels of a network, computed in tiles."""

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from ..checks import as_whole, check_choice, check_tensors
from ..errors import UnsupportedLayerError
from .likeness import same_nodes
from .reading import trace
from .recursion import Plan, Program, State, output_plan, pairs, rows
from .scores import Draws

_REPLICATES = 8  # whose spread gives the standard error of what is sampled
_TILE_CPU, _TILE_ACCELERATOR = 2**21, 2**26  # bytes per array: within a core's cache, or many
_LEAST = 3  # tiles a side where there are several, so that threads have like shares


class LimitKernels(NamedTuple):
    """Covariance of an output at initialisation (nngp) and tangent kernel of an output (ntk).

    `errors`: standard errors of both where they are sampled, else None.

    Examples:
        >>> network = ntkflow.mlp(3, [1], sigma_w=2**0.5)
        >>> nngp, ntk = ntkflow.limit_kernels(network, torch.ones(1, 3))
        >>> round(nngp.item(), 12), round(ntk.item(), 12)
        (2.0, 4.0)
    """

    nngp: Float[Tensor, "n1 n2"] | None
    ntk: Float[Tensor, "n1 n2"] | None

    @property
    def errors(self) -> "LimitKernels | None":
        """None: the kernels are exact."""
        return None


class SampledKernels(LimitKernels):
    """Means over replicates, and in `errors` their standard errors.

    Examples:
        >>> errors = ntkflow.LimitKernels(torch.ones(2, 2), None)
        >>> found = ntkflow.SampledKernels(torch.eye(2), None, errors)
        >>> nngp, ntk = found
        >>> found.errors.nngp.shape, ntk is None
        (torch.Size([2, 2]), True)
    """

    errors: LimitKernels | None = None

    def __new__(cls, nngp: Tensor | None, ntk: Tensor | None, errors: LimitKernels | None = None):
        """A pair with a further attribute."""
        kernels = super().__new__(cls, nngp, ntk)
        kernels.errors = errors
        return kernels


def limit_kernels(
    network: nn.Module,
    x1: Shaped[Tensor, "n1 *shape"],
    x2: Shaped[Tensor, "n2 *other"] | None = None,
    *,
    only: str | None = None,
    dtype: torch.dtype = torch.float64,
    tile: int | None = None,
    samples: int = 4096,
    seed: int = 0,
) -> LimitKernels:
    """NNGP and NTK of a network in the limit of infinite width.

    For a fully connected net with K_1 = theta_1 = sigma_w^2 <x, x'>/n0 + sigma_b^2, each further
    dense layer after an activation s gives, with (u, v) ~ N(0, K_l) for the pair,

        K_{l+1} = sigma_w^2 E[s(u) s(v)] + sigma_b^2,
        theta_{l+1} = K_{l+1} + theta_l sigma_w^2 E[s'(u) s'(v)].

    The same rule holds for every pair of values that share weights, so that layers may be used
    several times: outputs h_i = W s_i of one layer have K(h_i, h_j) = sigma_w^2 E[s_i s_j] +
    sigma_b^2, those of different layers are independent. A convolution averages over the shifts of
    both pixels, a flatten head keeps equal pixels, a pooling head averages over all pairs; a
    recurrent cell pairs time steps. A bias with `bias="zero"` counts in theta only. Every output
    has the same kernel and different outputs are independent, so the kernels are neither summed nor
    averaged over outputs. Learnt gains of norms count.

    Angles between inputs are accurate to rounding error even where inputs are nearly parallel or
    antiparallel. The exception: an activation with a kink that follows a smooth activation, a mean
    over places, attention or a sum of correlated values sees angles above 1e-4 to about 1e-12,
    smaller ones to about 1e-7.

    Args:
        network: made of ntkflow's layers, norms, attention, activations, means over places, sums,
            products, views and slices, in any forward whose Python depends on shapes alone
            (`ntkflow.ntk_parameterization` makes one of torch's own layers). Only its structure,
            scales and input size are read: parameters do not matter, and it may live on the meta
            device. Widths matter where values are concatenated, by their ratio. Where channels and
            places are told apart by size alone, widths have to be larger than 1.
        x1: inputs (N1, d), images (N1, C, H, W), sequences (N1, T, d) or tokens (N1, T); rows on
            the first axis.
        x2: other inputs, rows of the same shape; default: x1 again, and then half of the tiles are
            mirrored.
        only: "nngp" or "ntk" to leave the other one out (None in the result).
        dtype: precision of the computation and of the result.
        tile: inputs per side of a tile; default: as many as fit the cache. Working memory is a
            dozen arrays of tile^2 numbers (times places, or places^2 where all pairs are needed).
        samples: draws of the scores of attention with many heads and another score than "identity",
            for each layer, 16 or more. Networks without it are exact and ignore it.
        seed: of these draws.

    Returns:
        LimitKernels (nngp, ntk), each (N1, N2), on the device of x1. Sampled ones are means over 8
        replicates of samples / 8 draws, and have their standard errors, from the spread of the
        replicates, in `errors`, which is None otherwise. Entries have the draws in common, so that
        their errors are alike. As functions of means of samples / 8 draws they have a bias of the
        order of 8 / samples, which is not in the errors.

    Raises:
        UnsupportedLayerError: if a layer, named in the message, has no known limit.
        ConfigurationError: if `only` is unknown, `samples` or `seed` is too small, or inputs do not
            fit the first layer.

    Source: Jacot et al. 2018, arXiv:1806.07572, Theorem 1; Arora et al. 2019, arXiv:1904.11955,
    section 4 (convolutions); Yang 2019, arXiv:1910.12478, Yang 2020, arXiv:2006.14548 (shared
    weights, recurrence, norms); Hron et al. 2020, arXiv:2006.10540 (attention).

    Examples:
        >>> network = ntkflow.mlp(784, [1, 1, 1], sigma_w=2**0.5, sigma_b=0.1, device="meta")
        >>> ntkflow.limit_kernels(network, torch.randn(100, 784)).ntk.shape
        torch.Size([100, 100])
    """
    check_tensors(x1=x1, x2=x2)
    if only is not None:
        check_choice("only", only, LimitKernels._fields)
    count, seed = as_whole("samples", samples, 2 * _REPLICATES), as_whole("seed", seed, 0)
    program = trace(network, x1, dtype)
    programs = program, None if x2 is None else _second(network, x2, program, dtype)
    names = [name for name in LimitKernels._fields if only in (None, name)]
    options = output_plan(program), names, dtype, tile
    if not program.is_sampled:
        return LimitKernels(**_named(_kernels(programs, None, *options)))
    every = [Draws(count // (2 * _REPLICATES), seed, k) for k in range(_REPLICATES)]
    means, errors = _averaged(_kernels(programs, draws, *options) for draws in every)
    return SampledKernels(**_named(means), errors=LimitKernels(**_named(errors)))


def _named(kernels: dict[str, Tensor]) -> dict[str, Tensor | None]:
    return {name: kernels.get(name) for name in LimitKernels._fields}


def _averaged(replicates: Iterable[dict[str, Tensor]]) -> tuple[dict, dict]:
    """Means over replicates and their standard errors, holding one replicate at a time."""
    means, squares = {}, {}
    for count, kernels in enumerate(replicates, 1):
        for name, kernel in kernels.items():
            change = kernel - means.get(name, 0)
            means[name] = means.get(name, 0) + change / count
            squares[name] = squares.get(name, 0) + change * (kernel - means[name])
    return means, {name: (each / (count * (count - 1))).sqrt() for name, each in squares.items()}


def _kernels(
    programs: tuple[Program, Program | None],
    draws: Draws | None,
    plan: Plan,
    names: list[str],
    dtype: torch.dtype,
    tile: int | None,
) -> dict[str, Tensor]:
    """The named kernels, exact or of one replicate."""
    symmetric = programs[1] is None
    sides = [_rows(each, plan, draws) for each in programs if each is not None]
    first, second = sides[0], sides[-1]
    shape = _count(programs[0], first), _count(programs[0], second)
    device = first.q(programs[0].nodes[-1]).device
    kernels = {name: torch.empty(shape, dtype=dtype, device=device) for name in names}

    def fill(inputs: tuple[slice, slice]) -> None:
        states = [rows.take(each) for rows, each in zip((first, second), inputs, strict=True)]
        values = _tile(plan, *states, kernels, symmetric and inputs[0] == inputs[1])
        for kernel, value in zip(kernels.values(), values, strict=True):
            _write(kernel, value, *inputs, symmetric=symmetric)

    if device.type == "cpu":
        _hold_freed_memory()
    tiles = _tiles(*shape, tile or _default_tile(plan, kernels), symmetric=symmetric)
    _for_each(fill, tiles, device)
    _check_range(programs[0], kernels)
    return kernels


@torch.no_grad()
def _rows(program: Program, plan: Plan, draws: Draws | None) -> State:
    """Rows of one side, with what all pairs need of them."""
    found = rows(program, draws)
    found.prepare(plan)
    return found


def _second(network, x2: Tensor, program: Program, dtype: torch.dtype) -> Program:
    """The nodes of x1's program with the numbers of x2."""
    other = trace(network, x2, dtype)
    if not same_nodes(program.nodes, other.nodes):
        raise UnsupportedLayerError(
            f"{type(network).__name__}: reads other places, or has other layers, for x2 than for "
            "x1; rows of both have to have the same shape, and a forward must not depend on how "
            "many there are"
        )
    return Program(program.nodes, other.data)


def _check_range(program: Program, kernels: dict[str, Tensor]) -> None:
    """Raise an UnsupportedLayerError if a kernel left the range of its type."""
    for name, kernel in kernels.items():
        if kernel.is_meta or not kernel.numel():
            continue
        low, high = torch.aminmax(kernel)  # isfinite() would take a copy of the kernel
        if not bool((low.isfinite() & high.isfinite()).item()):
            raise UnsupportedLayerError(
                f"{program.nodes[-1].name}: its {name} overflows {kernel.dtype}; use smaller "
                "scales, or dtype=torch.float64"
            )


def _count(program: Program, state: State) -> int:
    return state.q(program.nodes[-1]).shape[-1]


@torch.no_grad()
def _tile(plan: Plan, first: State, second: State, names, same: bool) -> list[Tensor]:
    """The named kernels between the inputs of two sides."""
    (delta, theta, _), meeting = pairs(plan, first, second, same)
    output, _ = plan.order[-1]
    shape = delta.shape[-2:]
    values = []
    if "nngp" in names:
        values.append(meeting.covariance(output, output, delta).view(shape))
    if "ntk" in names:
        values.append(theta.reshape(shape))
    return values


def _hold_freed_memory() -> None:
    """Have the allocator keep what a tile frees for the next one.

    glibc hands back to the system what is free beyond twice the largest block that it has freed,
    and each page of it costs time anew. A block that nobody writes to costs none.
    """
    torch.empty(2**25 - 2**13, dtype=torch.uint8)


def _write(kernel: Tensor, value: Tensor, i: slice, j: slice, *, symmetric: bool) -> None:
    """Put a tile into the kernel, and its mirror image where only half of them are computed."""
    if symmetric and i == j:
        value = value.triu() + value.triu(1).mT
    kernel[i, j] = value
    if symmetric and i != j:
        kernel[j, i] = value.mT


def _for_each(work: Callable[[tuple], None], items: Iterable[tuple], device) -> None:
    """Do the work for each item, on a CPU in as many threads as torch uses for one operation.

    A tile is too small for two threads to share each of its operations. As each runs in one
    thread, results do not depend on the number of threads (see `train_ensemble` on MKL_CBWR).
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads == 1:
        for item in items:
            work(item)
        return
    torch.set_num_threads(1)
    try:
        # A new thread has a number of threads of its own.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(work, items))
    finally:
        torch.set_num_threads(threads)


def _default_tile(plan: Plan, kernels: dict[str, Tensor]) -> int:
    """Side of a tile whose arrays fit the cache (or fill an accelerator)."""
    (kernel, *_) = kernels.values()
    numbers = (_TILE_CPU if kernel.device.type == "cpu" else _TILE_ACCELERATOR) // (
        kernel.element_size()
    )
    side, rows = max(1, math.isqrt(numbers // plan.largest)), max(kernel.shape)
    return side if rows <= side else min(side, -(-rows // _LEAST))


def _tiles(n1: int, n2: int, side: int, *, symmetric: bool) -> Iterator[tuple[slice, slice]]:
    """Row and column slices of all tiles, or of those on and above the diagonal."""
    for i in range(0, n1, side):
        for j in range(i if symmetric else 0, n2, side):
            yield slice(i, min(i + side, n1)), slice(j, min(j + side, n2))
