"""Seconds of a training step of five networks of every architecture, on one thread.

Ours is `train_ensemble` with the engine that it chooses; the peers are a loop over networks with
torch.autograd, each network a module of its own, and torch.func's vmap(grad) over all of them. All
end with the losses after the last step, and take turns in one process; times are medians. Prints
CSV.

    PYTHONPATH=scripts python benchmarks/training_architectures.py [--repeats 5] [ARCHITECTURE ...]
"""

import csv
import functools
import sys
from collections.abc import Callable

from side_by_side import read_options, seconds

SEEDS, SAMPLES, SIDE, OUTPUTS, ETA, STEPS = 5, 64, 14, 10, 0.01, 20
# Widths of the experiments of architectures.
WORKS = {
    "mlp": (64, 256),
    "cnn": (16, 32),
    "resnet": (16, 32),
    "rnn": (64, 256),
    "transformer": (32, 64),
    "lstm": (64, 256),
    "gru": (64, 256),
}
COLUMNS = ["work", "ours_s", "loop_s", "vmap_s", "faster_than_both"]


def problem(architecture: str, width: int):
    """Network, weights of the ensemble, inputs and targets."""
    import torch

    from ntkflow.networks import draw_parameters
    from ntkstudy.registry import discover
    from ntkstudy.subjects.networks import build_network

    discover()
    block = {"kind": "architecture", "architecture": architecture, "width": width}
    network = build_network(block, SIDE**2, OUTPUTS)
    g = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, SIDE**2, generator=g)
    y = torch.eye(OUTPUTS)[torch.randint(OUTPUTS, (SAMPLES,), generator=g)]
    return network, draw_parameters(network, range(SEEDS)), x, y


def ours(network, parameters, x, y) -> None:
    """The ensemble, with the library."""
    from ntkflow.training import GradientDescent, Schedule, train_ensemble

    options = dict(optimizer=GradientDescent(ETA), schedule=Schedule(STEPS))
    train_ensemble(network, parameters, x, y, **options)


def loop(network, parameters, x, y) -> None:
    """One network after the other, with gradients by torch.autograd."""
    import torch
    from torch.func import functional_call

    for seed in range(SEEDS):
        p = {name: each[seed].clone().requires_grad_() for name, each in parameters.items()}
        for _ in range(STEPS):
            loss = (functional_call(network, p, (x,)) - y).square().sum(1).mean()
            gradients = torch.autograd.grad(loss, list(p.values()))
            with torch.no_grad():
                for each, gradient in zip(p.values(), gradients, strict=True):
                    each.sub_(gradient, alpha=ETA)
        with torch.no_grad():
            (functional_call(network, p, (x,)) - y).square().sum(1).mean()


def vmapped(network, parameters, x, y) -> None:
    """All networks at once, with torch.func."""
    import torch
    from torch.func import functional_call, grad, vmap

    def loss(p):
        return (functional_call(network, p, (x,)) - y).square().sum(1).mean()

    p, gradient = parameters, vmap(grad(loss))
    for _ in range(STEPS):
        g = gradient(p)
        with torch.no_grad():
            p = {name: each - ETA * g[name] for name, each in p.items()}
    with torch.no_grad():
        vmap(loss)(p)


def compare(architecture: str, width: int, repeats: int) -> list:
    """One row of the table."""
    work = problem(architecture, width)
    calls: list[Callable] = [functools.partial(run, *work) for run in (ours, loop, vmapped)]
    times = [taken / STEPS for taken in seconds(calls, repeats)]
    ratio = min(times[1:]) / times[0]
    return [f"{architecture}, n = {width}", *(f"{t:.4f}" for t in times), f"{ratio:.2f}"]


def main() -> None:
    """Read the command line and print the table."""
    options = read_options(__doc__)
    import torch

    torch.set_num_threads(1)
    table = csv.writer(sys.stdout)
    table.writerow(COLUMNS)
    for architecture in options.works or WORKS:
        for width in WORKS[architecture]:
            table.writerow(compare(architecture, width, options.repeats))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
