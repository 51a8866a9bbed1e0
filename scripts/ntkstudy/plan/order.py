"""Which job is started first: the one that most work waits for, the longest way to the report.

A scheduler that starts by this order keeps all processors at work to the end, unless one chain of
jobs is longer than all others together. Pure Python.
"""

from .expected import expected_cost
from .planning import Plan
from .stages import STAGES

TABLES_S = 10.0  # what follows on an experiment's files: tables, figures, verdicts, the report
# Of what waits for tables, before what nothing waits for.
AFTER_S = {"judge_claims": 9.0, "derived": 8.0, "draw_animation": 8.0, "draw_figure": 2.0}


class Order:
    """Expected time from the start of each job to the end of the run, other jobs left aside.

    Args:
        plan: the plan.
    """

    def __init__(self, plan: Plan):
        self._plan = plan
        self._ways: dict[str, dict[str, float]] = {}

    def way(self, stage: str, experiment: str, label: str, block: str) -> float:
        """Seconds, 0 for a job that nobody planned; `block` is empty for a job of a whole cell."""
        if experiment not in self._ways:
            self._ways[experiment] = self._measure(experiment)
        file = self._plan.stage_file(stage, experiment, label, block)
        return self._ways[experiment].get(file, 0.0)

    def _measure(self, experiment: str) -> dict[str, float]:
        """For every file of an experiment its job and what follows, the last stage first."""
        plan, ways, after = self._plan, {}, {}
        for stage in reversed(STAGES):
            if not plan.has_stage(experiment, stage):
                continue
            for job in plan.stage_jobs(stage, experiment):
                file = plan.stage_file(stage, experiment, *job)
                cost = expected_cost(plan, stage, experiment, *job).seconds
                ways[file] = cost + after.get(file, TABLES_S)
                for source in plan.sources_of(stage, experiment, *job):
                    after[source] = max(after.get(source, 0.0), ways[file])
        return ways
