"""Train all networks of a seed block together by full-batch gradient descent."""

import torch

from job import run_job
from ntkflow.inputs import load_training_set
from ntkflow.networks import build_network, draw_parameters
from ntkflow.storage import Array, open_file, write_file
from ntkflow.training import train_ensemble


def main(input: dict, output: dict, cfg: dict, device: str) -> None:
    """Write final weights per seed, the losses along training, and who diverged and when."""
    training = cfg["training"]
    dtype = getattr(torch, training["dtype"])
    with open_file(input["dataset"], "dataset") as data:
        x, y = load_training_set(data, dtype=dtype, device=device)
    network = build_network(cfg["network"], x.shape[1], y.shape[1])
    steps, every = training["steps"], training["record_every"]
    result = train_ensemble(
        network,
        draw_parameters(network, cfg["seeds"], dtype=dtype, device=device),
        x,
        y,
        learning_rate=training["learning_rate"],
        steps=steps,
        loss=training["loss"],
        record_steps=sorted({*range(0, steps, every), steps}),
    )
    for seed, step in zip(cfg["seeds"], result.diverged_at.tolist(), strict=True):
        if step >= 0:
            print(f"seed {seed} diverged at step {step}; the other seeds are unharmed")
    arrays = {
        f"weights/{name}": Array(
            tensor.cpu().numpy(), ["seed", *(f"{name}.{axis}" for axis in range(tensor.ndim - 1))]
        )
        for name, tensor in result.parameters.items()
    }
    arrays |= {
        "losses/step": Array(result.steps.cpu().numpy(), ["step"], "gradient steps"),
        "losses/loss": Array(result.losses.cpu().numpy(), ["seed", "step"], training["loss"]),
        "networks/diverged_at": Array(
            result.diverged_at.cpu().numpy(), ["seed"], "gradient steps; -1: never"
        ),
    }
    write_file(output["networks"], cfg, arrays, device=device, dtype=training["dtype"])


run_job(main, globals())
