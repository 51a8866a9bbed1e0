"""Check formulas against Monte Carlo, counter-examples and small experiments of their own."""

from job import run_job
from ntkstudy.data.dataset import open_dataset
from ntkstudy.data.storage import write_file
from ntkstudy.registry import load
from ntkstudy.subjects.measuring import measure
from ntkstudy.subjects.networks import build_network
from ntkstudy.theory.setting import Setting


def main(input: dict, output: dict, cfg: dict, device: str) -> None:
    """Write one group per check, with a seed axis where it draws networks."""
    load(cfg["modules"])
    with open_dataset(input["dataset"]) as data:
        network = build_network(cfg["network"], *data.sizes)
        setting = Setting.prepare(network, data, cfg.get("training", {}), device)
        arrays = measure(cfg["measurements"], "theory", setting, data)
    write_file(output["checks"], cfg, arrays, device=device, dtype="float64")


run_job(main, globals())
