"""Predict the training of the infinitely wide network at the snapshots of an experiment."""

from job import run_job
from ntkstudy.data.dataset import open_dataset
from ntkstudy.data.storage import write_file
from ntkstudy.registry import load
from ntkstudy.subjects.limit import Prediction
from ntkstudy.subjects.measuring import add_steps, measure
from ntkstudy.subjects.networks import build_narrow


def main(input: dict, output: dict, cfg: dict, device: str) -> None:
    """Write one group per measurement, with a step axis, in float64."""
    load(cfg["modules"])
    entries = cfg["measurements"]
    with open_dataset(input["dataset"]) as data:
        network = build_narrow(cfg["network"], *data.sizes)
        prediction = Prediction.prepare(network, data, cfg["training"], device)
        arrays = measure(entries, "prediction", prediction, data)
    arrays = add_steps(arrays, entries, prediction.steps.tolist())
    write_file(output["measurements"], cfg, arrays, device=device, dtype="float64")


run_job(main, globals())
