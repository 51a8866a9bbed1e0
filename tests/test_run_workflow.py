import os
import re
import signal
import sys
import threading
from pathlib import Path

import pytest

import run_workflow
from ntkflow.errors import ConfigurationError
from run_workflow import Progress, advise, command, results_folder, run

OUTPUT = """\
Building DAG of jobs...
Job stats:
job      count
-----  -------
all          1
other        2
total        3

localrule Job 1: Drawing the data of e
Finished jobid: 1 (Rule: make_dataset)
1 of 2 steps (50%) done
at work: large_errors, draw 2 of 3, 5 s
Job 0: Training e
Finished jobid: 0 (Rule: train_ensemble)
2 of 2 steps (100%) done
Complete log(s): .snakemake/log
""".splitlines()


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "config").mkdir()
    for name in ("config", "schema", "claims_schema", "tiny"):
        results = {"config": "results: results/default\n", "tiny": "results: results/small\n"}
        (tmp_path / "config" / f"{name}.yaml").write_text(results.get(name, "a: 1\n"))
    (tmp_path / "config" / "same.yaml").write_text("threads: 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_progress_is_a_line_a_job():
    progress = Progress()
    shown = [text for line in OUTPUT if (text := progress.feed(line)) is not None]
    assert [re.sub(r"\d+ s", "0 s", line) for line in shown] == [
        "[0/2] started   Drawing the data of e",
        "[1/2] finished  Drawing the data of e (0 s)",
        "[1/2] started   Training e",
        "[2/2] finished  Training e (0 s)",
    ]


def test_after_trouble_everything_is_shown():
    progress = Progress()
    assert progress.feed("Building DAG of jobs...") is None
    lines = ["WorkflowError:", "ConfigurationError: config.yaml: a: b", "anything"]
    assert [progress.feed(line) for line in lines] == lines


def test_nothing_to_be_done_is_said():
    line = "Nothing to be done (all requested files are present and up to date)."
    assert Progress().feed(line) == line


def test_command_holds_what_was_asked_for():
    call = command("quick", 3, "a,b", True)
    text = " ".join(call)
    assert call[:5] == [sys.executable, "-m", "snakemake", "--cores", "3"]
    assert "--configfile config/quick.yaml" in text
    assert "--config only=[a,b] partial=True" in text
    assert int(re.search(r"mem_mb=(\d+)", text)[1]) > 500
    plain = " ".join(command("default", 1, "", False))
    assert "--configfile" not in plain
    assert "--config " not in plain


def test_status_and_long_lines_pass_through(capfd):
    error = "ConfigurationError: " + 10 * "long " + "end"
    code = f"import sys; print('localrule Job 1: ' + 80 * 'x'); print({error!r}); sys.exit(3)"
    status, progress = run([sys.executable, "-c", code])
    assert status == 3
    assert progress.began
    assert not progress.locked
    first, second = capfd.readouterr().out.splitlines()
    assert first == "[0/0] started   " + 80 * "x"
    assert second == error


@pytest.mark.parametrize(
    ("scale", "folder"), [("default", "results/default"), ("tiny", "results/small")]
)
def test_results_lie_where_the_file_of_the_scale_says(project, scale, folder):
    assert results_folder(scale) == folder


def test_a_scale_needs_a_folder_of_its_own(project):
    with pytest.raises(ConfigurationError) as error:
        results_folder("same")
    problem = "results: missing; allowed: a folder of its own, such as results/same"
    assert str(error.value) == f"config/same.yaml: {problem}"


LOCKED = """\
LockException:
Error: Directory cannot be locked. Please make sure that no other Snakemake process is trying
""".splitlines()


@pytest.mark.parametrize(
    ("scale", "command"),
    [
        ("default", "`.venv/bin/snakemake --unlock`"),
        ("tiny", "`.venv/bin/snakemake --unlock --configfile config/tiny.yaml`"),
    ],
)
def test_a_lock_comes_with_the_command_that_removes_it(scale, command):
    progress = Progress()
    assert [progress.feed(line) for line in LOCKED] == LOCKED
    assert command in advise(progress, scale)


def call_main(monkeypatch, *arguments, status=0, output=()):
    progress = Progress()
    for line in output:
        progress.feed(line)
    monkeypatch.setattr(sys, "argv", ["run_workflow.py", *arguments])
    monkeypatch.setattr(run_workflow, "run", lambda call, display: (status, progress))
    return run_workflow.main()


def test_main_ends_with_the_path_of_the_report(project, monkeypatch, capsys):
    assert call_main(monkeypatch, "--scale", "tiny") == 0
    path = Path(project, "results", "small", "report", "index.html")
    assert f"Report: {path} (" in capsys.readouterr().out


def test_main_refuses_unknown_scales(project, monkeypatch, capsys):
    assert call_main(monkeypatch, "--scale", "schema") == 2
    out = capsys.readouterr().out
    assert out == "SCALE: 'schema' is unknown; allowed: default, same, tiny\n"


@pytest.mark.parametrize("began", [True, False])
def test_main_says_how_to_report_what_a_failed_run_left(project, monkeypatch, capsys, began):
    assert call_main(monkeypatch, status=1, output=OUTPUT if began else []) == 1
    out = capsys.readouterr().out
    assert ("make report PARTIAL=1" in out) == began
    assert bool(out) == began


def test_main_names_the_place_of_a_mistake_in_yaml(project, monkeypatch, capsys):
    (project / "config" / "tiny.yaml").write_text("results: results/small\nonly: [a\nthreads: 1\n")
    assert call_main(monkeypatch, "--scale", "tiny") == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("config/tiny.yaml: line 3, column 8: not valid YAML: ")


def test_a_killed_job_and_a_stop_come_with_what_helps():
    progress = Progress()
    progress.feed("CalledProcessError: Command '...' died with <Signals.SIGKILL: 9>.")
    assert advise(progress, "tiny").startswith("A job was killed from outside")
    progress.stopped = True
    assert advise(progress, "tiny") == "Stopped. The same command goes on: what is complete stays."


def test_a_stop_is_handed_on():
    code = "import sys, time; print('localrule Job 1: x', flush=True); time.sleep(60)"
    threading.Timer(2, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    status, progress = run([sys.executable, "-c", code])
    assert status == -signal.SIGTERM
    assert progress.stopped
