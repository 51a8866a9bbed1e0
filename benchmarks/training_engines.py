"""Time of one full-batch training step: ntkflow, a jitted JAX scan, and torch.func, side by side.

Ten seeds of a one-hidden-layer ReLU network on the circle, float32 (the arc engine: float64). The
peers take turns within every repetition, so that a slow moment of the machine hits all of them;
the times are medians over repetitions. Needs requirements-bench.txt:

    PYTHONPATH=scripts python benchmarks/training_engines.py [--threads 2] [--repeats 7]
"""

import argparse
import csv
import functools
import math
import os
import sys

from side_by_side import seconds

SEEDS, SAMPLES, SIGMA_B, ETA = 10, 64, 0.1, 0.1
STEPS = {10: 2000, 100: 1000, 1000: 100, 10000: 10}


def circle_task(samples: int, dtype):
    """Inputs on the unit circle at random angles and the targets x1 x2."""
    import torch

    angles = 2 * math.pi * torch.rand(samples, generator=torch.Generator().manual_seed(0))
    x = torch.stack([angles.cos(), angles.sin()], dim=1).to(dtype)
    return x, x[:, :1] * x[:, 1:]


def ours(network, parameters, x, y, engine="dense"):
    """Training for a number of steps with an engine of ntkflow."""
    from ntkflow.training import train_ensemble

    return lambda steps: train_ensemble(
        network, parameters, x, y, learning_rate=ETA, steps=steps, engine=engine
    )


def torch_func(network, parameters, x, y):
    """The same with torch.func.vmap(grad)."""
    import torch
    from torch.func import functional_call, grad, vmap

    def loss(p):
        return (functional_call(network, p, (x,)) - y).square().mean()

    gradient = vmap(grad(loss))

    def run(steps):
        p = parameters
        for _ in range(steps):
            g = gradient(p)
            with torch.no_grad():
                p = {name: tensor - ETA * g[name] for name, tensor in p.items()}
        return p

    return run


def jax_scan(parameters, x, y):
    """The same with jax.jit of lax.scan over the vmapped update."""
    import jax
    import jax.numpy as jnp

    x, y = jnp.asarray(x.numpy()), jnp.asarray(y.numpy())
    start = {name: jnp.asarray(tensor.numpy()) for name, tensor in parameters.items()}

    def loss(p):
        h = x @ p["0.weight"].T / math.sqrt(x.shape[1]) + SIGMA_B * p["0.bias"]
        f = jax.nn.relu(h) @ p["2.weight"].T / math.sqrt(h.shape[1]) + SIGMA_B * p["2.bias"]
        return ((f - y) ** 2).mean()

    def update(p, _):
        g = jax.vmap(jax.grad(loss))(p)
        return jax.tree_util.tree_map(lambda a, b: a - ETA * b, p, g), None

    scan = jax.jit(
        lambda p, steps: jax.lax.scan(update, p, None, length=steps)[0], static_argnums=1
    )
    return lambda steps: jax.block_until_ready(scan(start, steps))


def peer_rows(repeats: int):
    """Rows of the dense engine against its peers."""
    import torch

    from ntkflow.networks import draw_parameters, mlp

    for width, steps in STEPS.items():
        network = mlp(2, [width], sigma_b=SIGMA_B)
        parameters = draw_parameters(network, range(SEEDS))
        x, y = circle_task(SAMPLES, torch.float32)
        runs = {
            "ours": ours(network, parameters, x, y),
            "jax": jax_scan(parameters, x, y),
            "torchfunc": torch_func(network, parameters, x, y),
        }
        fewer = {"ours": steps, "jax": steps, "torchfunc": max(5, steps // 5)}
        calls = [functools.partial(run, fewer[name]) for name, run in runs.items()]
        taken = seconds(calls, repeats)
        yield f"width {width}", *(1e6 * t / n for t, n in zip(taken, fewer.values(), strict=True))


def main() -> None:
    """Print CSV rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    table = csv.writer(sys.stdout)
    table.writerow(
        ["work", "ours_us_per_step", "jax_us", "torchfunc_us", "jax_ratio", "torchfunc_ratio"]
    )
    for work, own, jax, func in peer_rows(options.repeats):
        numbers = [round(own, 1), round(jax, 1), round(func, 1)]
        table.writerow([work, *numbers, round(jax / own, 2), round(func / own, 2)])
        sys.stdout.flush()


if __name__ == "__main__":
    main()
