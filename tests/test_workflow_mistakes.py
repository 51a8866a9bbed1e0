"""Mistakes that the workflow reports before it does anything, each in one line."""

import re
import sys

import pytest
from workflow import execute, plan, snakemake, write_overlay

MISTAKES = {
    "unknown key": ({"network": {"widht": 8}}, "network.widht: unknown key; allowed: ", "width"),
    "wrong type": ({"seeds": "many"}, "seeds: 'many' is not allowed; allowed: ", "integer >= 0"),
    "negative width": (
        {"sweep": {"network.width": [4, -8]}},
        "sweep.network.width[1]: -8 is not allowed; allowed: ",
        "integer >= 1",
    ),
    "empty sweep": ({"sweep": {"network.width": []}}, "sweep.network.width: [] is empty", "1"),
    "unknown activation": (
        {"network": {"activation": "swish"}},
        "network.activation: 'swish' is unknown; allowed: ",
        "relu, erf",
    ),
    "number as text": (
        {"training": {"learning_rate": "1e-2"}},
        "training.learning_rate: '1e-2' is not allowed; allowed: number > 0",
        "write 1.0e-2",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_in_the_configuration_is_one_line(fresh, mistake):
    block, problem, allowed = MISTAKES[mistake]
    overlay = {"results": "results/bad", "experiments": {"kernel_profile": block}}
    name = mistake.replace(" ", "_")
    config = write_overlay(fresh, name, overlay)
    if mistake == "number as text":  # as people write it: without quotes
        path = fresh / config
        path.write_text(path.read_text().replace("'1e-2'", "1e-2"))
    done = snakemake(fresh, config=config)
    assert done.status != 0
    (line,) = [line for line in done.lines if "ConfigurationError" in line]
    assert f"{config}: experiments.kernel_profile." in line
    assert problem in line
    assert allowed in line
    assert "Traceback" not in done.output
    assert not (fresh / "results/bad").exists()


def test_experiment_named_twice_is_one_line(fresh):
    config = fresh / "config/twice.yaml"
    config.write_text("experiments:\n  a: {enabled: true}\n  b: {}\n  a: {enabled: false}\n")
    done = plan(fresh, config="config/twice.yaml")
    (line,) = [line for line in done.lines if "ConfigurationError" in line]
    assert line.endswith("config/twice.yaml: line 4: key 'a' appears twice; allowed once")


def test_unknown_scale_is_one_line(fresh):
    done = execute(fresh, sys.executable, "scripts/run_workflow.py", "--scale", "huge")
    assert done.status == 2
    (line,) = done.lines
    assert line.startswith("SCALE: 'huge' is unknown; allowed: ")
    assert {"default", "quick", "full"} <= set(re.findall(r"\w+", line))


def test_scale_without_a_folder_of_its_own_is_one_line(fresh):
    write_overlay(fresh, "mine", {"only": ["kernel_profile"]})
    done = execute(fresh, sys.executable, "scripts/run_workflow.py", "--scale", "mine")
    (fresh / "config/mine.yaml").unlink()
    assert done.status == 2
    (line,) = done.lines
    assert line.startswith("config/mine.yaml: results: missing; allowed: a folder of its own")


@pytest.mark.parametrize("option", ["--snakefile", "--directory"])
def test_another_folder_than_the_projects_is_one_line(fresh, tmp_path, option):
    elsewhere = option == "--snakefile"
    value = fresh / "Snakefile" if elsewhere else tmp_path
    call = [sys.executable, "-m", "snakemake", "--dry-run", option, str(value)]
    done = execute(tmp_path if elsewhere else fresh, *call)
    assert done.status != 0
    (line,) = [line for line in done.lines if "ConfigurationError" in line]
    problem = "is not the project's folder, where this workflow runs; allowed: cd"
    assert line.endswith(f"{tmp_path}: {problem} {fresh}, without --directory")
    assert "Traceback" not in done.output
    assert not list(tmp_path.glob("results"))


def test_mistake_in_the_yaml_of_the_main_file_is_one_line(fresh):
    path = fresh / "config/config.yaml"
    text = path.read_text()
    path.write_text("results: results/default\nonly: [a\nthreads: 1\n")
    done = execute(fresh, sys.executable, "-m", "snakemake", "--dry-run")
    path.write_text(text)
    (line,) = [line for line in done.lines if "ConfigurationError" in line]
    assert "config/config.yaml: line 3, column 8: not valid YAML: " in line


def test_lock_of_a_killed_run_comes_with_the_command_that_removes_it(fresh):
    locks = fresh / ".snakemake/locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("results/tiny/report/index.html\n")
    done = execute(fresh, sys.executable, "scripts/run_workflow.py", "--scale", "tiny")
    assert done.status != 0
    assert "Directory cannot be locked" in done.output
    unlock = re.search(r"`.venv/bin/(snakemake --unlock .+)` removes it", done.lines[-1])[1]
    assert execute(fresh, sys.executable, "-m", *unlock.split()).status == 0
    assert not list(locks.glob("*"))


@pytest.mark.parametrize("answer", ["n", "", "y"])
def test_clean_results_asks(fresh, answer):
    file = fresh / "results/quick/report/index.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    done = execute(fresh, "make", "clean-results", "SCALE=quick", text=f"{answer}\n")
    assert "Delete results/quick with everything in it? [y/N]" in done.output
    assert file.exists() == (answer != "y")
    assert ("Deleted results/quick." in done.output) == (answer == "y")
