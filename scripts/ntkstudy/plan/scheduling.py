"""How Snakemake starts jobs, and how they end with it."""

import os
from typing import Any

from ..processes import stop_with_jobs
from .expected import duration, run_cost
from .planning import Plan

EXPECTED = "Expected: "


def lift_start_limit(workflow: Any) -> None:
    """Take away Snakemake's limit of jobs per timespan, except on a cluster.

    With it the scheduler re-reads every ready job each second, once more for each job that has
    finished: 40 % of a core after 300 jobs (9.27.1). On one machine the cores limit what starts.
    No option turns it off. A version without these attributes keeps what it has: slower, not wrong.

    Args:
        workflow: Snakemake's workflow, about to start its first job.
    """
    scheduler = getattr(workflow, "scheduler", None)
    if getattr(workflow, "local_exec", False) and hasattr(scheduler, "job_rate_limiter"):
        scheduler.job_rate_limiter = None


def take_large_pages() -> None:
    """Have torch take large pages for tensors of 2 MB and more, in the jobs of this process.

    Where the system gives them on request, as Linux does by default, new memory costs a fraction of
    the time, a sixth of a job with many kernels; numbers are the same. A user's choice counts.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def tie_jobs(workflow: Any) -> None:
    """Let jobs on this machine end with the run, however it ends; on a cluster they are others'.

    Args:
        workflow: Snakemake's workflow, about to start its first job.
    """
    # A Snakemake for a job on a cluster has its caller on another machine.
    main = getattr(workflow, "is_main_process", True)
    if main and getattr(workflow, "local_exec", False):
        stop_with_jobs()


def say_cost(workflow: Any, plan: Plan) -> None:
    """Print what the jobs of this run are expected to cost.

    Args:
        workflow: Snakemake's workflow, about to start its first job.
        plan: its plan.
    """
    if not workflow.is_main_process:  # but one for a job on a cluster
        return
    left = [job for job in workflow.dag.needrun_jobs() if job.benchmark]
    cost = run_cost(plan, [(job.rule.name, str(job.benchmark)) for job in left])
    cores = getattr(workflow.resource_settings, "cores", None) if workflow.local_exec else None
    shared = f"; {duration(cost.seconds / cores)} or more on {cores} cores" if cores else ""
    print(f"{EXPECTED}{cost}{shared}", flush=True)
