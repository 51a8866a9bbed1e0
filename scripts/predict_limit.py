"""Predict the training of the infinitely wide network at the snapshots of an experiment."""

from job import run_job
from ntkstudy.data.inputs import input_sizes
from ntkstudy.data.storage import open_file, write_file
from ntkstudy.measurements.predictions import Prediction, measure_prediction
from ntkstudy.networks import build_network


def main(input: dict, output: dict, cfg: dict, device: str) -> None:
    """Write one group per measurement, with a step axis, in float64."""
    with open_file(input["dataset"], "dataset") as data:
        # The limit does not depend on the width: any will do.
        network = build_network({**cfg["network"], "width": 1}, *input_sizes(data))
        prediction = Prediction.prepare(network, data, cfg["training"], device)
        arrays = measure_prediction(cfg["measurements"], prediction, data)
    write_file(output["measurements"], cfg, arrays, device=device, dtype="float64")


run_job(main, globals())
