import os
from types import SimpleNamespace

import pytest

from ntkstudy.plan.scheduling import lift_start_limit, take_large_pages


@pytest.mark.parametrize(("local", "limit"), [(True, None), (False, "100/1s")])
def test_only_a_cluster_limits_how_fast_jobs_start(local, limit):
    scheduler = SimpleNamespace(job_rate_limiter="100/1s")
    lift_start_limit(SimpleNamespace(local_exec=local, scheduler=scheduler))
    assert scheduler.job_rate_limiter == limit


@pytest.mark.parametrize(
    "workflow",
    [
        SimpleNamespace(local_exec=True),
        SimpleNamespace(local_exec=True, scheduler=SimpleNamespace()),
        SimpleNamespace(scheduler=SimpleNamespace(limiter="100/1s")),
    ],
)
def test_another_snakemake_is_left_as_it_is(workflow):
    before = repr(workflow)
    lift_start_limit(workflow)
    assert repr(workflow) == before


@pytest.mark.parametrize(("chosen", "taken"), [(None, "1"), ("0", "0")])
def test_jobs_take_large_pages_unless_a_user_says_no(chosen, taken, monkeypatch):
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", chosen or "")  # so that it is put back
    if chosen is None:
        monkeypatch.delenv("THP_MEM_ALLOC_ENABLE")
    take_large_pages()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == taken
