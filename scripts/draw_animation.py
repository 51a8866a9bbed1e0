"""Draw one animation of an experiment from its tables."""

import importlib
from pathlib import Path

from job import run_job
from ntkstudy.data.collected import Tables
from ntkstudy.report.plotting import save_animation, use_style


def main(input: dict, output: dict, cfg: dict) -> None:
    """Call `draw(tables, cfg)` of scripts/animations/<name>.py and write all its frames."""
    name = Path(output["webp"]).stem
    script, tables = importlib.import_module(f"animations.{name}"), Tables(input["tables"])
    use_style()
    figure, show, count = script.draw({table: tables[table] for table in script.TABLES}, cfg)
    save_animation(figure, show, count, output["webp"], output["frames"])


run_job(main, globals())
