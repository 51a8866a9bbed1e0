"""What is timed: kernels, limits and training at the sizes that matter, against peers."""

import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ntkflow import (
    GradientDescent,
    Schedule,
    draw_parameters,
    empirical_ntk,
    limit_kernels,
    mlp,
    train_ensemble,
)

from . import peers
from .measuring import measure
from .parts import Part, Row, Setting, Skip, Step
from .resnet import resnet18

SCALES = dict(sigma_w=2**0.5, sigma_b=0.1)
SEEDS, SAMPLES, SIGMA_B, ETA = 10, 64, 0.1, 0.1  # as benchmarks/training_engines.py has them

Call = Callable[[], Tensor]
Method = Callable[[nn.Module, Tensor], Tensor]


class Problem(NamedTuple):
    """A network on the device, its inputs, and the sizes in words."""

    network: nn.Module
    x: Tensor
    sizes: dict[str, int]


def dense_problem(setting: Setting, rows: int, outputs: int) -> Problem:
    """784-2048-2048-2048-O, biases, ReLU."""
    width, inputs = setting.size(2048, 8), setting.size(784, 6)
    rows, outputs = setting.size(rows, min(rows, 3)), setting.size(outputs, 2)
    network = mlp(inputs, [width] * 3, outputs, **SCALES)
    return _problem(setting, network, torch.randn(rows, inputs), outputs)


def resnet_problem(setting: Setting, rows: int, outputs: int) -> Problem:
    """ResNet-18 without statistics of the batch, images of 224 x 224."""
    rows, outputs = setting.size(rows, min(rows, 2)), setting.size(outputs, 2)
    side = setting.size(224, 32)
    network = resnet18(outputs, setting.size(64, 4))
    return _problem(setting, network, torch.randn(rows, 3, side, side), outputs)


def block_problem(setting: Setting, rows: int, outputs: int) -> Problem:
    """784-100-100-100-O, biases, ReLU."""
    rows, width, inputs = setting.size(rows, 4), setting.size(100, 5), setting.size(784, 6)
    outputs = setting.size(outputs, 2)
    network = mlp(inputs, [width] * 3, outputs, **SCALES)
    return _problem(setting, network, torch.randn(rows, inputs), outputs)


def _problem(setting: Setting, network: nn.Module, x: Tensor, outputs: int) -> Problem:
    parameters = sum(p.numel() for p in network.parameters())
    sizes = {"N": len(x), "O": outputs, "P": parameters}
    return Problem(network.to(setting.place), x.to(setting.place), sizes)


def ours(network: nn.Module, x: Tensor) -> Tensor:
    """The block kernel as a user asks for it."""
    return empirical_ntk(network, x).values


def run_kernel(
    problem: Callable[..., Problem], rows: int, outputs: int, method: Method, setting: Setting
) -> list[Row]:
    """Measure a method on a problem."""
    torch.manual_seed(0)
    network, x, sizes = problem(setting, rows, outputs)
    return [measure(lambda: method(network, x), setting.place) | {"sizes": sizes}]


def kernel_part(
    name: str, title: str, problem: Callable[..., Problem], rows: int, outputs: int, seconds: dict
) -> Part:
    """A part that times a block kernel by the library and both peers."""
    methods = {"ours": ours, "contraction": peers.contraction, "products": peers.products}
    steps = [
        Step(label, partial(run_kernel, problem, rows, outputs, method), seconds[label], bool(peer))
        for peer, (label, method) in enumerate(methods.items())
    ]
    return Part(name, title, tuple(steps))


def _limits(method: str, setting: Setting) -> list[Row]:
    """Measure the limit NTK of three hidden ReLU layers, float64."""
    rows, inputs = setting.size(20_000, 30), setting.size(784, 6)
    x = torch.randn(rows, inputs, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, network = x.to(setting.place), mlp(inputs, [1] * 3, device="meta", **SCALES)
    calls: dict[str, Call] = {
        "ours": lambda: limit_kernels(network, x, only="ntk").ntk,
        "recursion": lambda: peers.relu_recursion(x, 3, **SCALES),
    }
    return [measure(calls[method], setting.place) | {"sizes": {"N": rows, "d": inputs}}]


def _training(width: int, method: str, setting: Setting) -> list[Row]:
    """Measure full-batch training of an ensemble with one hidden layer on the circle."""
    import training_engines as engines

    width, steps = setting.size(width, 6), setting.size(100, 3)
    network = mlp(2, [width], sigma_b=SIGMA_B)
    parameters = draw_parameters(network, range(setting.size(SEEDS, 3)))
    x, y = engines.circle_task(setting.size(SAMPLES, 8), torch.float32)
    sizes = {"seeds": len(parameters["0.weight"]), "width": width, "M": len(x), "steps": steps}
    if method == "jax":
        run = _jax_scan(setting, parameters, x, y)
        call: Call = lambda: torch.from_numpy(run(steps))  # noqa: E731
    else:
        x, y = x.to(setting.place), y.to(setting.place)
        parameters = {name: p.to(setting.place) for name, p in parameters.items()}
        start = (network.to(setting.place), parameters, x, y)
        run = {"ours": _train, "torch.func": engines.torch_func}[method](*start)
        call = lambda: run(steps)["0.weight"]  # noqa: E731
    row = measure(call, setting.place) | {"sizes": sizes}
    return [row | {"peak_mb": None} if method == "jax" else row]  # torch counts its own memory only


def _train(network: nn.Module, parameters: dict[str, Tensor], x: Tensor, y: Tensor):
    options = dict(optimizer=GradientDescent(ETA), engine="dense")
    return lambda steps: (
        train_ensemble(network, parameters, x, y, schedule=Schedule(steps), **options).parameters
    )


def _jax_scan(setting: Setting, *start):
    """Training by JAX on the same kind of device, in full float32; first weights at its end."""
    import numpy as np
    from training_engines import jax_scan

    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch needs memory, too
    try:
        import jax
    except ImportError:
        raise Skip("jax is not installed") from None
    if setting.place.type == "cuda" and jax.default_backend() != "gpu":
        raise Skip(f"jax sees no GPU here, only {jax.default_backend()}")
    jax.config.update("jax_default_matmul_precision", "highest")
    run = jax_scan(*start)
    return lambda steps: np.array(run(steps)["0.weight"])


def _steps(run: Callable[..., list[Row]], seconds: dict[str, float]) -> tuple[Step, ...]:
    return tuple(
        Step(label, partial(run, label), limit, label != "ours") for label, limit in seconds.items()
    )


def _seconds(ours: float, contraction: float, products: float) -> dict[str, float]:
    return {"ours": ours, "contraction": contraction, "products": products}


DENSE, RESNET = "3 x 2048 dense", "ResNet-18 without batch statistics, 224 x 224"
WORKS = (
    kernel_part("dense", f"{DENSE}, N = 16, O = 8", dense_problem, 16, 8, _seconds(3, 4, 4)),
    kernel_part("dense-128", f"{DENSE}, N = 1, O = 128", dense_problem, 1, 128, _seconds(3, 3, 3)),
    kernel_part(
        "dense-1000", f"{DENSE}, N = 1, O = 1000", dense_problem, 1, 1000, _seconds(5, 4, 4)
    ),
    kernel_part("resnet", f"{RESNET}, N = 8, O = 8", resnet_problem, 8, 8, _seconds(5, 5, 4)),
    kernel_part(
        "resnet-128", f"{RESNET}, N = 1, O = 128", resnet_problem, 1, 128, _seconds(6, 4, 4)
    ),
    kernel_part(
        "resnet-1000", f"{RESNET}, N = 1, O = 1000", resnet_problem, 1, 1000, _seconds(8, 4, 8)
    ),
    kernel_part(
        "block", "784-100-100-100-10, N = 5,000", block_problem, 5000, 10, _seconds(7, 12, 3)
    ),
    Part(
        "limit",
        "limit NTK, 3 hidden ReLU layers, N = 20,000, float64",
        _steps(_limits, {"ours": 8, "recursion": 5}),
    ),
    Part(
        "training-1000",
        "training, 10 seeds, width 1,000, M = 64, 100 steps",
        _steps(partial(_training, 1000), {"ours": 3, "torch.func": 4, "jax": 7}),
    ),
    Part(
        "training-10000",
        "training, 10 seeds, width 10,000, M = 64, 100 steps",
        _steps(partial(_training, 10_000), {"ours": 3, "torch.func": 5, "jax": 7}),
    ),
)
