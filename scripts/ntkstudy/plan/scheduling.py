"""How Snakemake starts jobs."""

from typing import Any


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
