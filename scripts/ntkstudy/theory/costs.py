"""Ways to a kernel and to its spectrum, and what a call costs in time and memory."""

import ctypes
import gc
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from ntkflow.empirical import empirical_ntk, ntk_operator, top_eigenpairs
from ntkflow.empirical.one_hidden_layer import mean_kernels, scalar_twin
from ntkflow.linalg.batches import eigenvalues
from ntkflow.networks import draw_parameters, member, mlp

from ..data.storage import Array
from .setting import Setting, axis, by_seed

Found = TypeVar("Found")

TOLERANCE = 1e-6  # relative accuracy asked of the first few eigenvalues


def loop_kernel(network: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    """Block kernel (O, O, N, N) as first written down: a gradient per image and output.

    Theta[o, o', n, n'] = <df_o(x_n)/dtheta, df_o'(x_n')/dtheta> from a loop over images and
    outputs, whose rows of the Jacobian are kept.
    """
    leaves = {name: p.detach().requires_grad_() for name, p in parameters.items()}
    rows = []
    with torch.enable_grad():
        for one in x:
            outputs = functional_call(network, leaves, (one[None],))[0]
            for output in outputs:
                parts = torch.autograd.grad(output, list(leaves.values()), retain_graph=True)
                rows.append(torch.cat([part.flatten() for part in parts]))
    jacobian = torch.stack(rows)
    return _as_block(jacobian @ jacobian.T, len(x))


def vmap_kernel(network: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    """Block kernel (O, O, N, N) from the Jacobian of all images at once: vmap over jacrev.

    The Jacobian holds N x O x P numbers, P the number of parameters.
    """

    def outputs(p: dict[str, Tensor], one: Tensor) -> Tensor:
        return functional_call(network, p, (one[None],))[0]

    jacobian = vmap(jacrev(outputs), (None, 0))(parameters, x)
    rows = [part.flatten(2).flatten(0, 1) for part in jacobian.values()]
    return _as_block(sum(row @ row.T for row in rows), len(x))


def _as_block(gram: Tensor, count: int) -> Tensor:
    """From rows image by image to (O, O, N, N)."""
    return gram.reshape(count, -1, count, len(gram) // count).permute(1, 3, 0, 2)


def layerwise_kernel(network: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    """Block kernel (O, O, N, N) layer by layer."""
    return empirical_ntk(network, x, parameters=parameters).values


def few_eigenvalues(
    network: nn.Module, parameters: dict[str, Tensor], x: Tensor, count: int
) -> Tensor:
    """Largest eigenvalues of K, without K, of a network with one hidden layer."""
    twin, parameters = scalar_twin(network, parameters)
    operator = ntk_operator(twin, x, parameters=parameters, dtype=torch.float64)
    return top_eigenpairs(operator, count, tolerance=TOLERANCE).values


def all_eigenvalues(network: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    """All eigenvalues of K, descending."""
    one = {name: p[None] for name, p in parameters.items()}
    return eigenvalues(mean_kernels(network, one, x))[0]


def measure_cost(call: Callable[[], Found]) -> tuple[Found, float, float]:
    """Result of a call, its seconds, and by how many bytes it raised the process's memory.

    The memory is the operating system's high-water mark, which only Linux lets a process reset: NaN
    elsewhere. Memory that earlier calls freed is handed back first. Linux counts pages in batches
    per processor (proc(5) calls the number inaccurate): good to a megabyte on two processors, to
    some tens on a hundred. Both are taken without large pages, which would make some calls faster.
    """
    _release()
    with _small_pages():
        before = _reset_peak()
        begin = time.perf_counter()
        found = call()
        return found, time.perf_counter() - begin, _peak() - before


# Linux: PR_SET_THP_DISABLE and PR_GET_THP_DISABLE of prctl(2).
_SET_LARGE_PAGES_OFF, _ARE_LARGE_PAGES_OFF = 41, 42


@contextmanager
def _small_pages() -> Iterator[None]:
    """No large pages, which count whole however little of them is used."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is None:
        yield
        return
    off = prctl(_ARE_LARGE_PAGES_OFF, 0, 0, 0, 0)
    prctl(_SET_LARGE_PAGES_OFF, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_SET_LARGE_PAGES_OFF, max(off, 0), 0, 0, 0)


def _release() -> None:
    """Give freed memory back to the system: a call that took it again would not be seen."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU C library
    if trim is not None:
        trim(0)


_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _reset_peak() -> float:
    if not _RESET.exists():
        return np.nan
    _RESET.write_text("5")
    return _peak()


def _peak() -> float:
    if not _STATUS.exists():
        return np.nan
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return 1024.0 * float(lines["VmHWM"].split()[0])


def peak_gigabytes() -> float:
    """Largest memory of this process so far; Linux counts in kB, macOS in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def step_cost(options: Any, setting: Setting) -> dict[str, Array]:
    """Bytes that a gradient of the loss takes beside the weights, in float64, by width.

    Of networks of two hidden layers of ReLU on the experiment's inputs; the loss is the mean square
    of the output. `parameters` is the number d of weights, `per_parameter` bytes over 8 d.
    """
    x, rows = setting.x.flatten(1), []
    networks = [mlp(x.shape[1], [width] * 2, device="meta") for width in options.widths]
    counts = [sum(p.numel() for p in network.parameters()) for network in networks]
    for seed in range(options.draws):
        row: dict[str, list] = {"bytes": [], "per_parameter": []}
        for network, count in zip(networks, counts, strict=True):
            drawn = draw_parameters(network, [seed], dtype=x.dtype, device=x.device)
            size = measure_cost(partial(_gradient, network, member(drawn, 0), x))[2]
            row["bytes"].append(size)
            row["per_parameter"].append(size / (8 * count))
        rows.append(row)
    found = by_seed(rows, "width") | axis("width", options.widths)
    return found | {"parameters": Array(np.array(counts), ["width"])}


def _gradient(network: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> tuple[Tensor, ...]:
    """Gradient of the mean squared output, parameter by parameter."""
    leaves = {name: p.detach().requires_grad_() for name, p in parameters.items()}
    with torch.enable_grad():
        loss = functional_call(network, leaves, (x,)).square().mean()
        return torch.autograd.grad(loss, list(leaves.values()))
