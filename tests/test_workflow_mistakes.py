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


@pytest.mark.parametrize("answer", ["n", "", "y"])
def test_clean_results_asks(fresh, answer):
    file = fresh / "results/quick/report/index.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    done = execute(fresh, "make", "clean-results", "SCALE=quick", text=f"{answer}\n")
    assert "Delete results/quick with everything in it? [y/N]" in done.output
    assert file.exists() == (answer != "y")
    assert ("Deleted results/quick." in done.output) == (answer == "y")
