"""Draw one animation of an experiment from its tables."""

import importlib
from pathlib import Path

import pandas as pd

from job import run_job
from ntkstudy.report.plotting import save_animation, use_style


def main(input: dict, output: dict, cfg: dict) -> None:
    """Call `draw(tables, cfg)` of scripts/animations/<name>.py and write all its frames."""
    files = [input["tables"]] if isinstance(input["tables"], str) else input["tables"]
    tables = {Path(file).stem: pd.read_csv(file) for file in files}
    name = Path(output["webp"]).stem
    use_style()
    figure, show, count = importlib.import_module(f"animations.{name}").draw(tables, cfg)
    save_animation(figure, show, count, output["webp"], output["frames"])


run_job(main, globals())
