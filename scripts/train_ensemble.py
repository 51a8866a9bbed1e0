"""Train all networks of a seed block together by full-batch gradient descent."""

import torch

from job import run_job
from ntkflow.networks import draw_parameters
from ntkflow.training import Schedule, TrainingResult, train_ensemble
from ntkstudy.data.dataset import DataSet, open_dataset
from ntkstudy.data.storage import Array, write_file
from ntkstudy.plan.schedule import spread_steps
from ntkstudy.registry import load
from ntkstudy.subjects.measuring import add_steps, measure, stack
from ntkstudy.subjects.members import Members
from ntkstudy.subjects.networks import build_network
from ntkstudy.subjects.pace import Pace
from ntkstudy.subjects.training import build_objective, build_optimizer


def main(input: dict, output: dict, cfg: dict, device: str) -> None:
    """Write final weights per seed, losses and measurements along training, and who diverged."""
    load(cfg["modules"])
    with open_dataset(input["dataset"]) as data:
        result, arrays = train(cfg, data, device)
    for seed, step in zip(cfg["seeds"], result.diverged_at.tolist(), strict=True):
        if step >= 0:
            print(f"seed {seed} diverged at step {step}; the other seeds are unharmed")
    arrays |= result_arrays(result, cfg["training"]["loss"])
    write_file(output["networks"], cfg, arrays, device=device, dtype=cfg["training"]["dtype"])


def train(cfg: dict, data: DataSet, device: str) -> tuple[TrainingResult, dict[str, Array]]:
    """Train the block; the second result is what was measured at the snapshots."""
    training = cfg["training"]
    dtype = getattr(torch, training["dtype"])
    x, y = data.training_set(dtype=dtype, device=device)
    network = build_network(cfg["network"], x.shape[1], y.shape[1])
    start = draw_parameters(network, cfg["seeds"], dtype=dtype, device=device)
    measured: dict[int, dict[str, Array]] = {}

    members = Members(network, start, start, cfg["seeds"], cfg["network"], training)

    def take_snapshot(step: int, parameters: dict[str, torch.Tensor]) -> None:
        now = members.at(step, parameters)
        measured[step] = measure(cfg["measurements"], "training", now, data)

    spread = (training["steps"], training["spacing"])
    schedule = Schedule(
        training["steps"],
        record=spread_steps(training["records"], *spread),
        snapshots=spread_steps(training["snapshots"], *spread) if cfg["measurements"] else (),
        on_snapshot=take_snapshot,
        on_progress=Pace(training["steps"]).tell,
    )
    result = train_ensemble(
        network,
        start,
        x,
        y,
        optimizer=build_optimizer(training),
        schedule=schedule,
        objective=build_objective(training),
        engine=training["engine"],
        noise_seeds=cfg["seeds"],
    )
    return result, snapshot_arrays(measured, cfg["measurements"])


def snapshot_arrays(measured: dict[int, dict[str, Array]], entries: list[dict]) -> dict[str, Array]:
    """Measurements of all snapshots stacked along a step axis."""
    if not measured:
        return {}
    return add_steps(stack(list(measured.values()), "step"), entries, list(measured))


def result_arrays(result: TrainingResult, loss: str) -> dict[str, Array]:
    """Final weights, recorded losses and steps of divergence."""
    weights = {
        f"weights/{name}": Array(
            tensor.cpu().numpy(), ["seed", *(f"{name}.{axis}" for axis in range(tensor.ndim - 1))]
        )
        for name, tensor in result.parameters.items()
    }
    diverged_at = result.diverged_at.cpu().numpy()
    return weights | {
        "losses/step": Array(result.steps.cpu().numpy(), ["step"], "gradient steps"),
        "losses/loss": Array(result.losses.cpu().numpy(), ["seed", "step"], loss),
        "networks/diverged_at": Array(diverged_at, ["seed"], "gradient steps; -1: never"),
    }


run_job(main, globals())
