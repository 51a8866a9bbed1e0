"""Time of one full-batch training step: ntkflow, a jitted JAX scan, and torch.func, side by side.

Ten seeds of a one-hidden-layer ReLU network on the circle, microseconds a step of all seeds. The
peers take turns within every repetition, so that a slow moment of the machine hits all of them;
the times are medians over repetitions. Needs requirements-bench.txt:

    PYTHONPATH=scripts python benchmarks/training_engines.py [--threads 1] [--repeats 7]
"""

import argparse
import csv
import functools
import math
import sys
import time

from side_by_side import seconds

SEEDS, SAMPLES, SIGMA_B, ETA = 10, 64, 0.1, 0.1
STEPS = {10: 2000, 100: 1000, 1000: 100, 10000: 50}


def circle_task(samples: int, dtype):
    """Inputs on the unit circle at random angles and the targets x1 x2."""
    import torch

    g = torch.Generator().manual_seed(0)
    angles = 2 * math.pi * torch.rand(samples, generator=g, dtype=torch.float64)
    x = torch.stack([angles.cos(), angles.sin()], dim=1).to(dtype)
    return x, x[:, :1] * x[:, 1:]


def ours(network, parameters, x, y, engine="dense"):
    """Training for a number of steps with an engine of ntkflow."""
    from ntkflow.training import GradientDescent, Schedule, train_ensemble

    descent = GradientDescent(ETA)
    return lambda steps: train_ensemble(
        network, parameters, x, y, optimizer=descent, schedule=Schedule(steps), engine=engine
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
    """Rows of both engines against their peers."""
    import torch

    from ntkflow.networks import draw_parameters, mlp

    for width, steps in STEPS.items():
        network = mlp(2, [width], sigma_b=SIGMA_B)
        parameters = draw_parameters(network, range(SEEDS))
        x, y = circle_task(SAMPLES, torch.float32)
        runs = {
            "dense": ours(network, parameters, x, y, "dense"),
            "arcs": ours(network, parameters, x, y, "arcs"),
            "jax": jax_scan(parameters, x, y),
            "torchfunc": torch_func(network, parameters, x, y),
        }
        fewer = {name: max(5, steps // 5) if name == "torchfunc" else steps for name in runs}
        calls = [functools.partial(run, fewer[name]) for name, run in runs.items()]
        taken = seconds(calls, repeats)
        yield f"width {width}", *(1e6 * t / n for t, n in zip(taken, fewer.values(), strict=True))


def arc_rows(repeats: int):
    """Rows of the arc engine against the dense one, float64, M = 256."""
    import torch

    from ntkflow.networks import draw_parameters, mlp

    for width in (1000, 10000):
        network = mlp(2, [width], sigma_b=SIGMA_B, dtype=torch.float64)
        parameters = draw_parameters(network, range(SEEDS))
        task = circle_task(256, torch.float64)
        steps = {"arcs": 10**6 // width, "dense": 10**5 // width}
        calls = [
            functools.partial(ours(network, parameters, *task, engine), number)
            for engine, number in steps.items()
        ]
        taken = seconds(calls, repeats)
        yield width, *(1e6 * t / n for t, n in zip(taken, steps.values(), strict=True))


def deep_row(seeds: int, steps: int):
    """Seconds and GFLOP/s of A1's heavy case: 3 hidden layers of 2048, M = 512, float32."""
    import torch

    from ntkflow.networks import draw_parameters, mlp

    network = mlp(2, [2048] * 3, sigma_b=SIGMA_B)
    run = ours(network, draw_parameters(network, range(seeds)), *circle_task(512, torch.float32))
    run(1)
    begin = time.perf_counter()
    run(steps)
    per_step = (time.perf_counter() - begin) / (steps + 1) / seeds  # and a last look at the loss
    flop = 2 * 512 * 2048 * 2048 * 2 * 3
    a, b = torch.rand(2048, 2048), torch.rand(2048, 512)
    begin = time.perf_counter()
    for _ in range(20):
        a @ b
    peak = 20 * 2 * 512 * 2048 * 2048 / (time.perf_counter() - begin)
    return per_step, flop / per_step / 1e9, peak / 1e9


def main() -> None:
    """Print CSV rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    table = csv.writer(sys.stdout)
    ratios = ["jax / dense", "jax / arcs", "torchfunc / dense"]
    table.writerow(["work", "dense_us", "arcs_us", "jax_us", "torchfunc_us", *ratios])
    for work, dense, arcs, jax, func in peer_rows(options.repeats):
        numbers = [round(number, 1) for number in (dense, arcs, jax, func)]
        ratios = [round(ratio, 2) for ratio in (jax / dense, jax / arcs, func / dense)]
        table.writerow([work, *numbers, *ratios])
        sys.stdout.flush()
    table.writerow(["work", "arcs_us_per_step", "dense_us_per_step", "dense_ratio"])
    for width, arcs, dense in arc_rows(options.repeats):
        table.writerow(
            [f"float64 width {width}", round(arcs), round(dense), round(dense / arcs, 1)]
        )
    table.writerow(["work", "seconds_per_step_and_seed", "gflops", "matrix_product_gflops"])
    table.writerow(["3 x 2048", *(round(number, 4) for number in deep_row(2, 4))])


if __name__ == "__main__":
    main()
