"""Draw one figure of an experiment from its tables."""

import importlib
from pathlib import Path

from job import run_job
from ntkstudy.data.collected import Tables
from ntkstudy.report.plotting import save_figure, use_style


def main(input: dict, output: dict, cfg: dict) -> None:
    """Call `draw(tables, cfg)` of scripts/figures/<name>.py, the figure's name being its file's."""
    name = Path(output["svg"]).stem
    script, tables = importlib.import_module(f"figures.{name}"), Tables(input["tables"])
    use_style()
    figure = script.draw({table: tables[table] for table in script.TABLES}, cfg)
    save_figure(figure, output["svg"], output["png"], name=name)


run_job(main, globals())
