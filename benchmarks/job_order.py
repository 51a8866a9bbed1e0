"""How well an order of jobs keeps the cores at work, by the times that a run has recorded.

The jobs of a finished run are started anew on paper, each when a core is free and its files are
there: in the order of the plan's expectation with and without these records, training first as
it was before, and in no order. Prints CSV: seconds in all, share of the cores' time that jobs take,
and the same for the last five minutes.

    python benchmarks/job_order.py [--scale default] [--cores 2 4 16]
"""

import argparse
import csv
import heapq
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from ntkstudy.plan.expected import expected_cost, light_cost
from ntkstudy.plan.loading import load_plan
from ntkstudy.plan.order import AFTER_S, TABLES_S, Order
from ntkstudy.plan.planning import Plan
from ntkstudy.plan.stages import STAGES

LAST_S = 300.0


@dataclass
class Job:
    """A job of a run on paper: its time, what it reads, and its place in each order."""

    seconds: float
    reads: list[str]
    places: dict[str, float] = field(default_factory=dict)


def load(scale: str, **overrides) -> Plan:
    """The plan of a scale."""
    overlay = [] if scale == "default" else [f"config/{scale}.yaml"]
    return load_plan(["config/config.yaml", *overlay], "config/schema.yaml", overrides)


def jobs_of(plan: Plan, unknown: Plan) -> dict[str, Job]:
    """Every job by the file that it makes.

    Args:
        plan: of the run that was recorded.
        unknown: the same in a folder without records.
    """
    known_order, first_order, jobs = Order(plan), Order(unknown), {}
    for experiment in plan.experiments:
        files = []
        for stage in (name for name in STAGES if plan.has_stage(experiment, name)):
            for job in plan.stage_jobs(stage, experiment):
                key = (stage, experiment, *job)
                file = plan.stage_file(*key)
                files.append(file)
                places = {
                    "records": known_order.way(*key),
                    "estimates": first_order.way(*key),
                    "training first": 10.0 * (stage == "train"),
                    "none": 0.0,
                }
                seconds = expected_cost(plan, *key).seconds
                jobs[file] = Job(seconds, plan.sources_of(*key), places)
        for rule, name, reads in _light(plan, experiment, files):
            jobs[f"{rule}/{name}"] = light(plan, rule, name, reads)
    tables = [name for name in jobs if name.startswith("aggregate")]
    jobs["judge_claims"] = light(plan, "judge_claims", "", tables)
    drawn = [name for name in jobs if name.startswith("draw")]
    jobs["render_report"] = light(plan, "render_report", "", [*drawn, "judge_claims"])
    return jobs


def _light(plan: Plan, experiment: str, files: list[str]):
    tables = f"aggregate_experiment/{experiment}"
    yield "aggregate_experiment", experiment, files
    for kind in ("figure", "animation"):
        for name in plan.block(experiment)[f"{kind}s"]:
            yield f"draw_{kind}", f"{experiment}/{name}", [tables]


def light(plan: Plan, rule: str, name: str, reads: list[str]) -> Job:
    """A job of tables or pictures."""
    record = f"{plan.results}/benchmarks/{rule}{'/' * bool(name)}{name}.tsv"
    place = TABLES_S if rule == "aggregate_experiment" else AFTER_S.get(rule, 0.0)
    places = dict.fromkeys(("records", "estimates"), place)
    return Job(
        light_cost(rule, record).seconds, reads, places | {"training first": 0.0, "none": 0.0}
    )


def simulate(jobs: dict[str, Job], cores: int, place: Callable[[Job], float]) -> list[tuple]:
    """Start and end of every job, each started as soon as a core is free, highest place first."""
    waits = {name: set(job.reads) for name, job in jobs.items()}
    needed_by: dict[str, list[str]] = {}
    for name, job in jobs.items():
        for read in job.reads:
            needed_by.setdefault(read, []).append(name)
    ready = [(-place(jobs[name]), name) for name in jobs if not waits[name]]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    spans, now = [], 0.0
    while ready or running:
        while ready and len(running) < cores:
            _, name = heapq.heappop(ready)
            spans.append((now, now + jobs[name].seconds))
            heapq.heappush(running, (now + jobs[name].seconds, name))
        now, done = heapq.heappop(running)
        for name in needed_by.get(done, ()):
            waits[name].discard(done)
            if not waits[name]:
                heapq.heappush(ready, (-place(jobs[name]), name))
    return spans


def used(spans: list[tuple], cores: int, since: float) -> float:
    """Share of the cores' time that jobs take from a moment to the end."""
    end = max(stop for _, stop in spans)
    at_work = sum(max(0.0, stop - max(start, since)) for start, stop in spans)
    return at_work / (cores * (end - since))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", default="default")
    parser.add_argument("--cores", type=int, nargs="+", default=[2, 4, 16])
    arguments = parser.parse_args()
    plan = load(arguments.scale)
    jobs = jobs_of(plan, load(arguments.scale, results="results/none"))
    out = csv.writer(sys.stdout)
    out.writerow(["cores", "order", "seconds", "used", "used_in_the_last_five_minutes"])
    for cores in arguments.cores:
        for order in ("records", "estimates", "training first", "none"):
            spans = simulate(jobs, cores, lambda job, order=order: job.places[order])
            end = max(stop for _, stop in spans)
            shares = [used(spans, cores, since) for since in (0.0, max(0.0, end - LAST_S))]
            out.writerow([cores, order, f"{end:.0f}", *(f"{share:.3f}" for share in shares)])


if __name__ == "__main__":
    main()
