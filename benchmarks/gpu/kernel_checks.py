"""Checks of empirical kernels, operators and limit kernels on the device."""

import copy
import functools
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

import ntkflow
from ntkflow.empirical.one_hidden_layer import mean_kernels

from .checking import DOUBLE, SINGLE, Check, Values, draw, run_checks, to_double
from .parts import Part, Row, Setting, Step

METHODS = ("jacobian", "vector_product", "layerwise")
CONVENTIONS = ("block", "diagonal", "trace", "mean", 1)
EMPIRICAL = {DOUBLE: 1e-12, SINGLE: 3e-6}


# Arithmetic


def arithmetic(setting: Setting) -> list[Row]:
    """Products and convolutions keep all digits of float32: TF32 would leave errors of 1e-4."""
    a, b, images, filters = draw(256, 256), draw(256, 256), draw(4, 32, 16, 16), draw(32, 32, 3, 3)

    def compute(place, dtype):
        moved = [each.to(place, dtype) for each in (a, b, images, filters)]
        return moved[0] @ moved[1], nn.functional.conv2d(*moved[2:], padding=1)

    wanted = partial(compute, "cpu", DOUBLE)
    tolerances = {DOUBLE: 1e-13, SINGLE: 3e-6}
    return run_checks([Check("product, convolution", compute, wanted, tolerances)], setting)


# Empirical kernels


def networks() -> dict[str, tuple[nn.Module, Tensor]]:
    """Networks of all kinds that methods tell apart, and inputs."""
    torch.manual_seed(0)
    scales = dict(sigma_w=2**0.5, sigma_b=0.3)
    images = draw(3, 2, 6, 6)
    mixed = nn.Sequential(
        *(nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(36, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 2)),
    )
    tokens = nn.Sequential(
        *(nn.Unflatten(1, (3, 4)), nn.Linear(4, 6), nn.Tanh()),
        *(ntkflow.Residual(nn.Linear(6, 6)), nn.Flatten(), nn.Linear(18, 2)),
    )
    found = {
        "dense": (ntkflow.mlp(6, [16, 12], 2, **scales), draw(3, 6)),
        "pooling": (ntkflow.cnn(2, [4, 4], 2, image_size=6, head="gap", **scales), images),
        "flatten": (ntkflow.cnn(2, [4], 2, image_size=6, activation="gelu", **scales), images),
        "normalised": (mixed, images),
        "tokens": (tokens, draw(3, 12)),
    }
    return {name: (to_double(network), x) for name, (network, x) in found.items()}


def empirical(setting: Setting) -> list[Row]:
    """Kernels by every method in every convention, of all rows at once and row by row."""
    chosen = networks()
    if setting.smoke:
        chosen = {name: chosen[name] for name in ("dense", "normalised")}
    return run_checks(_empirical_checks(chosen), setting)


def _empirical_checks(chosen: dict[str, tuple[nn.Module, Tensor]]) -> Iterator[Check]:
    for name, (network, x) in chosen.items():
        for way, compute in {"": _kernels, " row by row": _small_pieces}.items():
            wanted = functools.cache(partial(compute, network, x, "jacobian"))
            for method in METHODS:

                def found(place, dtype, method=method, compute=compute, network=network, x=x):
                    return compute(*_moved(network, x, place, dtype), method)

                yield Check(f"{name}, {method}{way}", found, wanted, EMPIRICAL)


def _moved(network: nn.Module, x: Tensor, place, dtype: torch.dtype) -> tuple[nn.Module, Tensor]:
    """Copies elsewhere, in another type."""
    return copy.deepcopy(network).to(place, dtype), x.to(place, dtype)


def _kernels(network: nn.Module, x: Tensor, method: str) -> Values:
    """Symmetric in all conventions, and by parameter."""
    kernel = partial(ntkflow.empirical_ntk, network, x, method=method)
    values = [kernel(outputs=outputs).values for outputs in CONVENTIONS]
    _, by_parameter = zip(*sorted(kernel(by_layer=True).by_parameter.items()), strict=True)
    return [*values, *by_parameter]


def _small_pieces(network: nn.Module, x: Tensor, method: str) -> Values:
    """Against other rows, within one byte: one row at a time."""
    return [ntkflow.empirical_ntk(network, x, x[1:], method=method, memory_budget=1).values]


# Operators


def operators(setting: Setting) -> list[Row]:
    """The matrix-free kernel, its trace and eigenvalues, and kernels in closed form."""
    network, x = networks()["pooling"]
    block = ntkflow.empirical_ntk(network, x, method="jacobian").values
    gram, vectors = block.permute(2, 0, 3, 1).reshape(6, 6), draw(6, 2)

    def operator(place, dtype, budget=2**30):
        moved = _moved(network, x, place, dtype)
        return ntkflow.ntk_operator(*moved, memory_budget=budget)

    def product(place, dtype, budget):
        return [operator(place, dtype, budget) @ vectors.to(place, dtype)]

    def trace(place, dtype):
        return [operator(place, dtype).trace(samples=4).value]

    def eigenvalues(place, dtype):
        maps = operator(place, dtype), gram.to(place, dtype)
        found = [ntkflow.top_eigenpairs(each, 3) for each in maps]
        return [each.values for each in found]

    top = torch.linalg.eigvalsh(gram).flip(0)[:3]
    checks = [
        Check("product", partial(product, budget=2**30), lambda: [gram @ vectors], EMPIRICAL),
        Check("product in pieces", partial(product, budget=1), lambda: [gram @ vectors], EMPIRICAL),
        Check("trace", trace, lambda: [_hutchinson(gram, 4)], EMPIRICAL),
        Check("eigenvalues", eigenvalues, lambda: [top, top], {DOUBLE: 1e-10, SINGLE: 1e-5}),
        _one_hidden_layer(),
    ]
    return run_checks(checks, setting)


def _hutchinson(gram: Tensor, samples: int) -> Tensor:
    """The mean of z' K z over the signs that `NtkOperator.trace` draws."""
    import numpy as np

    stream = np.random.default_rng(0)
    signs = [torch.from_numpy(2.0 * stream.integers(0, 2, len(gram)) - 1) for _ in range(samples)]
    return torch.stack([z @ gram @ z for z in signs]).mean()


def _one_hidden_layer() -> Check:
    network, x = ntkflow.mlp(4, [20], 3, sigma_b=0.3), draw(6, 4)
    parameters = ntkflow.draw_parameters(network, range(3))

    def found(place, dtype):
        moved = {name: p.to(place, dtype) for name, p in parameters.items()}
        return [mean_kernels(network, moved, x.to(place, dtype))]

    def wanted():
        each = [{name: p[i].double() for name, p in parameters.items()} for i in range(3)]
        options = dict(outputs="mean", method="jacobian")
        kernels = [ntkflow.empirical_ntk(network, x, parameters=p, **options) for p in each]
        return [torch.stack([kernel.values for kernel in kernels])]

    return Check("one hidden layer", found, wanted, EMPIRICAL)


# Limit kernels

ACTIVATIONS = ("relu", "erf", "gelu", "sin", "abs", "tanh")
LIMITS = {DOUBLE: 1e-12, SINGLE: 5e-6}


def limits(setting: Setting) -> list[Row]:
    """Kernels at infinite width of every kind of network, whole and in tiles."""
    return run_checks(_limit_checks(), setting)


def _limit_checks() -> Iterator[Check]:
    scales = dict(sigma_w=2**0.5, sigma_b=0.1, device="meta")
    x, images = draw(8, 5), draw(4, 2, 5, 5)
    x[1], x[2], x[3], x[4] = x[0], -x[0], 0, x[0] * (1 + 2**-20)  # where angles cancel
    residual = nn.Sequential(
        *(ntkflow.Dense(5, 4, device="meta"), ntkflow.Residual(_branch()), nn.ReLU()),
        ntkflow.Dense(4, 1, device="meta"),
    )
    cases = {name: (ntkflow.mlp(5, [1, 1], activation=name, **scales), x) for name in ACTIVATIONS}
    cases["residual"] = residual, x
    for head in ("flatten", "gap"):
        cases[head] = ntkflow.cnn(2, [1, 1], image_size=5, head=head, **scales), images
    for name, (network, inputs) in cases.items():
        found = partial(_limits, network, inputs)
        yield Check(name, found, partial(found, "cpu", DOUBLE, tile=3), LIMITS)


def _branch() -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), ntkflow.Dense(4, 4, sigma_b=0.3, device="meta"))


def _limits(network: nn.Module, x: Tensor, place, dtype: torch.dtype, tile=None) -> Values:
    kernels = partial(ntkflow.limit_kernels, network, dtype=dtype, tile=tile)
    x = x.to(place, dtype)
    return [*kernels(x), *kernels(x[:2], x[1:])]


PARTS = (
    Part("arithmetic", "products in full precision", (Step("checks", arithmetic, 4),)),
    Part("empirical", "empirical kernels, every method", (Step("checks", empirical, 16),)),
    Part("operators", "operators and eigenvalues", (Step("checks", operators, 6),)),
    Part("limits", "limit kernels", (Step("checks", limits, 10),)),
)
