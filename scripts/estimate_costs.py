"""Say what a scale is expected to cost, and which experiments cost most, without running it.

    python scripts/estimate_costs.py [--scale quick] [--only a,b]     (or `make plan SCALE=quick`)

Times and peaks are those that an earlier run has recorded, else estimates of the plan for one
thread of a common processor.
"""

import argparse
import sys

from ntkflow.errors import ConfigurationError
from ntkstudy.plan.expected import Cost, duration, experiment_cost
from ntkstudy.plan.loading import load_plan
from run_workflow import results_folder

SHOWN = 10  # experiments


def describe_costs(costs: dict[str, Cost], cores: int) -> list[str]:
    """Lines on all experiments together, and on those that cost most.

    Args:
        costs: by experiment.
        cores: processors that share the work.
    """
    total = sum(costs.values(), Cost())
    lines = [str(total), f"On {cores} cores: {duration(total.seconds / cores)} or more."]
    most = sorted(costs, key=lambda name: costs[name].seconds, reverse=True)[:SHOWN]
    for name in most:
        cost = costs[name]
        lines.append(
            f"{duration(cost.seconds):>8}  {cost.jobs:>4} jobs  {cost.peak_mb / 1000:>5.1f} GB  "
            f"{cost.disk_bytes / 1e6:>7.1f} MB on disk  {name}"
        )
    return lines


def main() -> int:
    """Parse the command line, and say it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", default="default", help="default, or an overlay of config/")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--only", default="", help="experiments or sources, separated by commas")
    arguments = parser.parse_args()
    overlay = [f"config/{arguments.scale}.yaml"] * (arguments.scale != "default")
    only = [name for name in arguments.only.split(",") if name]
    try:
        results_folder(arguments.scale)
        files = ["config/config.yaml", *overlay]
        plan = load_plan(files, "config/schema.yaml", {"only": only} if only else None)
        costs = {name: experiment_cost(plan, name) for name in plan.experiments}
    except ConfigurationError as error:
        print(error)
        return 2
    print("\n".join(describe_costs(costs, arguments.cores)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
