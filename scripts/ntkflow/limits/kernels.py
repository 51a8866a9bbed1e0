"""Limit kernels of a network, computed in tiles."""

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..checks import check_choice, check_tensors
from ..errors import UnsupportedLayerError
from .operations import Row, covariance
from .recursion import Program, State, pairs, rows, take
from .tracing import trace

_TILE_CPU, _TILE_ACCELERATOR = 2**20, 2**26  # bytes per array: within a core's cache, or many


class LimitKernels(NamedTuple):
    """Covariance of an output at initialisation (nngp) and tangent kernel of an output (ntk)."""

    nngp: Float[Tensor, "n1 n2"] | None
    ntk: Float[Tensor, "n1 n2"] | None


def limit_kernels(
    network: nn.Module,
    x1: Float[Tensor, "n1 *shape"],
    x2: Float[Tensor, "n2 *shape"] | None = None,
    *,
    only: str | None = None,
    dtype: torch.dtype = torch.float64,
    tile: int | None = None,
) -> LimitKernels:
    """NNGP and NTK of a network in the limit of infinite width.

    For a fully connected net with K_1 = theta_1 = sigma_w^2 <x, x'>/n0 + sigma_b^2, each further
    dense layer after an activation s gives, with (u, v) ~ N(0, K_l) for the pair,

        K_{l+1} = sigma_w^2 E[s(u) s(v)] + sigma_b^2,
        theta_{l+1} = K_{l+1} + theta_l sigma_w^2 E[s'(u) s'(v)].

    A convolution does the same for each pair of pixels, averaged over the k x k diagonal shifts; a
    flatten head keeps equal pixels and a pooling head averages over all pairs; a residual sum adds
    kernels. A bias with `bias="zero"` counts in theta only. Every output has the same kernel and
    different outputs are independent, so the kernels are neither summed nor averaged over outputs.

    Angles between inputs are accurate to rounding error even where inputs are nearly parallel or
    antiparallel. The exception: an activation with a kink that follows a smooth activation or a
    mean over space sees angles above 1e-4 to about 1e-12, smaller ones to about 1e-8.

    Args:
        network: made of ntkflow's layers, activations, nn.Flatten, means over space and sums, in
            any forward that torch.fx can trace. Only its structure, scales and input size are
            read: widths and parameters do not matter, and it may live on the meta device.
        x1: inputs (N1, d) or images (N1, C, H, W).
        x2: other inputs; default: x1 again, and then half of the tiles are mirrored.
        only: "nngp" or "ntk" to leave the other one out (None in the result).
        dtype: precision of the computation and of the result.
        tile: inputs per side of a tile; default: as many as fit the cache. Working memory is a
            dozen arrays of tile^2 numbers (times pixels, or pixels^2 under pooling).

    Returns:
        LimitKernels (nngp, ntk), each (N1, N2), on the device of x1.

    Raises:
        UnsupportedLayerError: if a layer, named in the message, has no known limit.
        ConfigurationError: if `only` is unknown, or inputs do not fit the first layer.

    Source: Jacot et al. 2018, arXiv:1806.07572, Theorem 1; Arora et al. 2019, arXiv:1904.11955,
    section 4 (convolutions); Yang 2020, arXiv:2006.14548 (sums).

    Example:
        >>> network = ntkflow.mlp(784, [1, 1, 1], sigma_w=2**0.5, sigma_b=0.1, device="meta")
        >>> ntkflow.limit_kernels(network, torch.randn(100, 784)).ntk.shape
        torch.Size([100, 100])
    """
    check_tensors(x1=x1, x2=x2)
    if only is not None:
        check_choice("only", only, LimitKernels._fields)
    program = trace(network)
    with torch.no_grad():
        first = _checked_rows(program, x1.to(dtype))
        second = first if x2 is None else _checked_rows(program, x2.to(dtype))
        shape = first[-1].q.shape[-1], second[-1].q.shape[-1]
        kernels = {
            name: torch.empty(shape, dtype=dtype, device=x1.device)
            for name in LimitKernels._fields
            if only in (None, name)
        }
        side = tile or _default_tile(program, first)

    def fill(inputs: tuple[slice, slice]) -> None:
        states = [take(rows, each) for rows, each in zip((first, second), inputs, strict=True)]
        values = _tile(program, *states, kernels)
        for kernel, value in zip(kernels.values(), values, strict=True):
            _write(kernel, value, *inputs, symmetric=x2 is None)

    _for_each(fill, _tiles(*shape, side, symmetric=x2 is None), x1.device)
    return LimitKernels(kernels.get("nngp"), kernels.get("ntk"))


@torch.no_grad()
def _tile(program: Program, first: list[State], second: list[State], names) -> list[Tensor]:
    """The named kernels between the inputs of two sides."""
    delta, theta, _ = pairs(program, first, second)
    shape = first[-1].q.shape[-1], second[-1].q.shape[-1]
    values = []
    if "nngp" in names:
        values.append(covariance(first[-1], second[-1], delta, program.crossed).view(shape))
    if "ntk" in names:
        values.append(theta.view(shape))
    return values


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


def _checked_rows(program: Program, x: Tensor) -> list[State]:
    """Rows of all steps, the last of which has to be free of pixels."""
    states = rows(program, x)
    if states[-1].q.numel() != states[-1].q.shape[-1]:
        raise UnsupportedLayerError(
            f"{program.steps[-1].operation.name}: the network ends with a map of "
            f"{tuple(states[-1].q.shape[:-1])} pixels; end with nn.Flatten() or a mean over space, "
            "and Dense"
        )
    return states


def _default_tile(program: Program, states: list[State]) -> int:
    """Side of a tile whose arrays fit the cache (or fill an accelerator)."""
    pixels = max(s.q.shape[:-1].numel() for s in states if isinstance(s, Row))
    q = states[-1].q
    numbers = (_TILE_CPU if q.device.type == "cpu" else _TILE_ACCELERATOR) // q.element_size()
    return max(1, math.isqrt(numbers // (pixels**2 if program.crossed else pixels)))


def _tiles(n1: int, n2: int, side: int, *, symmetric: bool) -> Iterator[tuple[slice, slice]]:
    """Row and column slices of all tiles, or of those on and above the diagonal."""
    for i in range(0, n1, side):
        for j in range(i if symmetric else 0, n2, side):
            yield slice(i, min(i + side, n1)), slice(j, min(j + side, n2))
