"""Check formulas against Monte Carlo, counter-examples and small experiments of their own."""

from job import run_job
from ntkstudy.data.inputs import input_sizes
from ntkstudy.data.storage import open_file, write_file
from ntkstudy.networks import build_network
from ntkstudy.theory import check_theory


def main(input: dict, output: dict, cfg: dict, device: str) -> None:
    """Write one group per check, with a seed axis where it draws networks."""
    with open_file(input["dataset"], "dataset") as data:
        network = build_network(cfg["network"], *input_sizes(data))
        training = cfg.get("training", {})
        arrays = check_theory(cfg["measurements"], network, data, training, device)
    write_file(output["checks"], cfg, arrays, device=device, dtype="float64")


run_job(main, globals())
