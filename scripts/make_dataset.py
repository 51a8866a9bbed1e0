"""Make the data set of a cell: training samples and an evaluation grid or test set."""

from job import run_job
from ntkstudy.data.storage import write_file
from ntkstudy.options import read_options
from ntkstudy.registry import TASKS, load


def main(input: dict, output: dict, cfg: dict) -> None:
    """Write groups `train` (inputs x, targets y) and `probe` (a coordinate, x, noiseless y)."""
    load(cfg["modules"])
    task, files = TASKS[cfg["task"]["kind"]], input.get("files", [])
    options = read_options(task.options, cfg["task"])
    arrays = task.make(options, [files] if isinstance(files, str) else files)
    write_file(output["dataset"], cfg, arrays)


run_job(main, globals())
