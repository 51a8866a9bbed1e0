"""Faults on real runs: each says what happened, and the same command then ends as undisturbed."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults import RESULTS, assert_same_tables, leftovers, make_report, paused, times
from workflow import PROJECT, TINY, execute, plan, snakemake, write_overlay

pytestmark = pytest.mark.slow

TRAINED = RESULTS / "width~8/train/0-1.h5"
# What follows from training the wider networks again, a report included.
TRAINING = {
    "train_ensemble": 1,
    "extract_ntk": 1,
    "aggregate_experiment": 1,
    "draw_figure": 2,
    "judge_claims": 1,
    "render_report": 1,
}
TABLES = {rule: n for rule, n in TRAINING.items() if rule not in ("train_ensemble", "extract_ntk")}
EXPERIMENTS = [sys.executable, "-m", "snakemake", "experiments", "--cores", "2"]
EXPERIMENTS += ["--configfile", "config/tiny.yaml"]


def jobs_run(done):
    """Jobs that a run of run_workflow.py finished."""
    return len(re.findall(r"^\[.*\] finished  ", done.output, re.M))


def assert_ends_as_undisturbed(project, tiny, *, jobs, kept):
    """The same command does what is left, keeps what is complete, and has nothing to do then."""
    before = times(project)
    assert plan(project).jobs == jobs
    done = execute(project, *make_report())
    assert done.status == 0, done.output
    assert jobs_run(done) == sum(jobs.values())
    assert_same_tables(project, tiny)
    after = times(project)
    assert {name for name in before if after[name] == before[name]} >= kept
    assert not leftovers(project)
    assert plan(project).idle


def complete_files(project):
    """HDF5 files that no fault here touches."""
    return {name for name in times(project) if name.endswith(".h5") and "width~8" not in name}


def lose(project, script):
    """Remove the output of a job and all that is made of it; the jobs that make them again."""
    for path in (project / RESULTS / "figures").glob("*.svg"):
        path.unlink()
    names = ["report/index.html"]
    if script != "draw_figure":
        names += ["claims.json", "kernel_profile/tables/contents.json"]
    if script == "train_ensemble":
        names += [f"kernel_profile/width~8/{stage}/0-1.h5" for stage in ("train", "ntk")]
    for name in names:
        (project / "results/tiny" / name).unlink()
    return {
        "train_ensemble": TRAINING,
        "aggregate_experiment": TABLES,
        "draw_figure": {"draw_figure": 2, "render_report": 1},
    }[script]


# Kills


@pytest.mark.parametrize("script", ["train_ensemble", "aggregate_experiment"])
@pytest.mark.parametrize("victims", ["job", "snakemake", "job and snakemake"])
def test_kill_in_mid_write(finished, tiny, victims, script):
    jobs, kept = lose(finished, script), complete_files(finished)
    with paused(finished, script, make_report()) as run:
        for name in reversed(victims.split(" and ")):
            os.kill(getattr(run, name), signal.SIGKILL)
        done = run.end()
        assert run.left == []
    assert done.status != 0
    if victims == "job":
        assert (
            "A job was killed from outside, as a system does where memory is short."
            in (done.lines[-1])
        )
    else:
        locked = execute(finished, *make_report())
        assert "Directory cannot be locked" in locked.output
        unlock = re.search(r"`.venv/bin/(snakemake --unlock .+)` removes it", locked.lines[-1])[1]
        assert execute(finished, sys.executable, "-m", *unlock.split()).status == 0
    assert_ends_as_undisturbed(finished, tiny, jobs=jobs, kept=kept)


def test_a_killed_caller_takes_snakemake_and_jobs_with_it(finished, tiny):
    jobs, kept = lose(finished, "train_ensemble"), complete_files(finished)
    with paused(finished, "train_ensemble", make_report()) as run:
        run.process.kill()
        run.end()
        assert run.left == []
    assert not leftovers(finished)
    assert not list(finished.glob(".snakemake/locks/*"))
    assert_ends_as_undisturbed(finished, tiny, jobs=jobs, kept=kept)


# Stops


STOPS = {
    "SIGTERM to make report": (make_report(), lambda run: run.process.terminate()),
    "Ctrl-C": (make_report(), lambda run: os.killpg(run.process.pid, signal.SIGINT)),
    "SIGTERM to snakemake": (EXPERIMENTS, lambda run: run.process.terminate()),
}


@pytest.mark.parametrize("stop", STOPS)
def test_a_stop_is_clean_and_quick(finished, tiny, stop):
    call, act = STOPS[stop]
    jobs, kept = lose(finished, "train_ensemble"), complete_files(finished)
    with paused(finished, "train_ensemble", call) as run:
        act(run)
        done = run.end()
        assert run.left == []
    assert done.status != 0
    if call is not EXPERIMENTS:  # Snakemake tells of every job that was stopped
        assert "Traceback" not in done.output
        assert done.lines[-1] == "Stopped. The same command goes on: what is complete stays."
    log = finished / "results/tiny/logs/train_ensemble/kernel_profile/width~8/0-1.log"
    assert re.search(r"^The job was stopped by SIG(INT|TERM) and wrote nothing\.$", log.read_text())
    assert not leftovers(finished)
    assert not list(finished.glob(".snakemake/locks/*"))
    assert_ends_as_undisturbed(finished, tiny, jobs=jobs, kept=kept)


# Damaged files


def change_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def lose_rows(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-3]))


@pytest.mark.parametrize("spoil", [change_byte, truncate])
def test_damaged_data_is_named_and_mended_by_its_own_job(finished, tiny, spoil):
    data, measured = finished / RESULTS / "all/dataset.h5", RESULTS / "width~8/ntk/0-1.h5"
    files = [data, finished / TRAINED, finished / measured]
    for path in files:
        spoil(path)
    before = times(finished)
    done = execute(finished, sys.executable, "scripts/mend_results.py", "--scale", "tiny")
    assert done.status == 0, done.output
    names = [str(path.relative_to(finished)) for path in files]
    made = [line.removesuffix(": made anew") for line in done.lines if line.endswith(": made anew")]
    assert made == [names[0], names[1], names[2]]  # what others are made of comes first
    kind = "damaged: its SHA-256 is" if spoil is change_byte else "truncated or another file"
    assert sum(f": {kind}" in line for line in done.lines) == 3
    after = times(finished)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {str(path.relative_to(finished / RESULTS)) for path in files}
    for name in names:
        assert (finished / name).read_bytes() == (tiny / name).read_bytes()
    assert plan(finished).idle


@pytest.mark.parametrize("spoil", [Path.unlink, lose_rows])
def test_damaged_tables_are_named_and_mended(finished, tiny, spoil):
    spoil(finished / RESULTS / "tables/losses.csv")
    jobs = lose(finished, "draw_figure")
    call = [sys.executable, "scripts/mend_results.py", "--scale", "tiny"]
    assert execute(finished, *call).status == 0
    assert_same_tables(finished, tiny)
    assert plan(finished).jobs == jobs
    assert execute(finished, *call).lines == ["results/tiny: every file is as it was written"]


def test_a_run_names_a_damaged_file_and_the_command(finished):
    change_byte(finished / TRAINED)
    measured = f"{RESULTS}/width~8/ntk/0-1.h5"
    (finished / measured).unlink()
    done = snakemake(finished, measured)
    assert done.status != 0
    (line,) = {line.strip() for line in done.lines if "StorageError" in line}
    assert line.startswith(f"StorageError: {TRAINED}: damaged: its SHA-256 is ")
    assert "`make mend`, with its SCALE, makes it anew, and nothing else" in line
    assert "Traceback" not in done.output


# Disks, folders, memory, clocks


@pytest.fixture
def small_disk(finished):
    """A disk at results/ that the finished run lies on; a function fills it."""
    results, kept = finished / "results", finished / "kept"
    results.rename(kept)
    results.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", results], check=True)
    shutil.copytree(kept, results, dirs_exist_ok=True)
    shutil.rmtree(kept)

    def fill():
        with open(results / "ballast", "wb", buffering=0) as file:
            while file.write(bytes(1 << 12)) == 1 << 12:
                pass

    def quietly():
        try:
            fill()
        except OSError:
            os.truncate(results / "ballast", (results / "ballast").stat().st_size - (1 << 14))

    yield quietly
    subprocess.run(["umount", results], check=True)


@pytest.mark.parametrize("script", ["train_ensemble", "aggregate_experiment", "draw_figure"])
def test_a_full_disk_is_named_and_a_run_with_room_ends_well(finished, tiny, small_disk, script):
    jobs = lose(finished, script)
    small_disk()
    done = execute(finished, *make_report())
    assert done.status != 0
    lines = {line.strip() for line in done.lines if "StorageError" in line}
    assert lines, done.output
    assert all("No space left on device (" in line for line in lines)
    assert "Traceback" not in done.output
    (finished / "results/ballast").unlink()
    # Jobs whose small outputs found room are complete.
    left = plan(finished).jobs
    assert left
    assert all(count <= jobs[rule] for rule, count in left.items())
    assert_ends_as_undisturbed(finished, tiny, jobs=left, kept=complete_files(finished))


def test_a_report_that_finds_no_room(finished, tiny, small_disk):
    report = finished / "results/tiny/report/index.html"
    report.unlink()
    small_disk()
    done = execute(finished, *make_report())
    assert done.status != 0
    assert "No space left on device (" in done.output
    (finished / "results/ballast").unlink()
    assert_ends_as_undisturbed(finished, tiny, jobs={"render_report": 1}, kept=set(times(tiny)))


def test_two_runs_on_one_folder(finished, tiny):
    lose(finished, "train_ensemble")
    with paused(finished, "train_ensemble", make_report()) as run:
        second = execute(finished, *make_report())
        assert second.status != 0
        assert "Directory cannot be locked" in second.output
        assert second.lines[-1].startswith("If no other run is at work, a killed one left this")
        run.go_on()
        first = run.end()
    assert first.status == 0, first.output
    assert jobs_run(first) == sum(TRAINING.values())
    assert_same_tables(finished, tiny)
    assert plan(finished).idle


def test_a_job_over_its_memory_is_one_line(finished):
    block = TINY["experiments"]["kernel_profile"] | {"sweep": {"network.width": [10**7]}}
    config = write_overlay(finished, "wide", TINY | {"experiments": {"kernel_profile": block}})
    done = snakemake(finished, f"{RESULTS}/width~10000000/train/0-1.h5", config=config)
    assert done.status != 0
    (line,) = {line.strip() for line in done.lines if "MemoryError" in line}
    assert "allowed: more memory, a smaller seeds_per_job, or fewer jobs at once" in line
    assert "Traceback" not in done.output
    assert not leftovers(finished)


def test_a_clock_that_was_moved_back(finished, tiny):
    tomorrow = time.time() + 86400
    for path in [*finished.rglob("results/**/*"), *finished.rglob("scripts/**/*.py")]:
        os.utime(path, (tomorrow, tomorrow))
    assert plan(finished).idle
    jobs = lose(finished, "train_ensemble")
    failed = execute(finished, *make_report())
    assert failed.status != 0
    assert "has older modification time" in failed.output
    touch = "find config rules scripts results -newermt now -exec touch {} +"
    assert touch in (PROJECT / "docs/reruns.md").read_text(encoding="utf-8")
    assert execute(finished, "sh", "-c", touch).status == 0
    assert_ends_as_undisturbed(finished, tiny, jobs=jobs, kept=complete_files(finished))


def test_results_in_another_folder_are_up_to_date(tiny, finished, tmp_path):
    moved = finished.rename(tmp_path / "moved")
    assert plan(moved).idle
    # As from another machine: times are those of the copy, in any order.
    copied = Path(shutil.copytree(tiny, tmp_path / "copied", copy_function=shutil.copy))
    assert plan(copied).idle
