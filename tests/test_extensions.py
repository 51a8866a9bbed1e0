"""A task, a network, an activation and a measurement from outside the package, in one file."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from ntkflow.errors import ConfigurationError
from ntkstudy.data.storage import open_file
from ntkstudy.plan.loading import load_plan
from ntkstudy.registry import ACTIVATIONS, MEASUREMENTS, NETWORKS, TASKS

ROOT = Path(__file__).parents[1]
TOYS = """
from dataclasses import dataclass
from typing import Annotated

from ntkstudy.needs import Need, Sizes
from ntkstudy.options import Rule
from ntkstudy.registry import activation, measurement, network, task
from ntkstudy.tasks.common import TaskOptions

FEW = Need("at most nine training points", lambda facts: facts.sizes.train <= 9)


@dataclass(frozen=True, kw_only=True)
class RampOptions(TaskOptions):
    points: Annotated[int, Rule("training points", minimum=2)] = 4


@task("ramp", options=RampOptions, sizes=lambda o: Sizes(o.points, 3, 1, 1), axis="place")
def ramp(options, files):
    import numpy as np

    from ntkstudy.data.storage import Array
    from ntkstudy.tasks.common import training_arrays

    x, probe = np.linspace(0, 1, options.points)[:, None], np.linspace(0, 1, 3)
    return training_arrays(x, 2 * x) | {
        "probe/place": Array(probe, ["place"]),
        "probe/x": Array(probe[:, None], ["place", "coordinate"]),
        "probe/y": Array(2 * probe[:, None], ["place", "output"]),
    }


@dataclass(frozen=True, kw_only=True)
class ThinOptions:
    width: Annotated[int, Rule("neurons", minimum=1)] = 3


@network("thin", options=ThinOptions)
def thin(options, input_dim, output_dim):
    import ntkflow

    return ntkflow.mlp(input_dim, [options.width], output_dim, device="meta")


@activation("softplus")
def softplus():
    from torch import nn

    return nn.Softplus()


@dataclass(frozen=True, kw_only=True)
class PowerOptions:
    power: Annotated[int, Rule("of the outputs", minimum=1, maximum=3)] = 1


@measurement(
    "moment", when=("initialization", "trained"), options=PowerOptions, axes=("probe",),
    needs=(FEW,), each=True,
)
def moment(options, network, data):
    \"\"\"Powers of the outputs.\"\"\"
    from ntkstudy.measurements.common import labelled

    values = network.outputs(data.probe(**network.where))[:, 0] ** options.power
    return {data.axis: data.coordinate} | labelled((data.axis,), value=(values, "f^power"))
"""
EXPERIMENT = {
    "title": "t", "source": "ours", "question": "q", "task": {"kind": "ramp"},
    "network": {"kind": "thin"}, "training": {"learning_rate": 0.1, "steps": 2},
    "measurements": [{"kind": "moment", "when": ["trained"], "power": 2}], "seeds": 2,
}  # fmt: skip


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Plan of an experiment, with the toys in the folder of the project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(ROOT / "scripts"), *sys.path])
    Path("toys.py").write_text(TOYS.replace("\\", ""))

    def load_experiment(**changes):
        config = {"results": "results/x", "extensions": ["toys"]}
        config["experiments"] = {"e": EXPERIMENT | changes}
        Path("config.yaml").write_text(yaml.safe_dump(config))
        return load_plan(["config.yaml"], ROOT / "config" / "schema.yaml")

    yield load_experiment
    sys.modules.pop("toys", None)
    for registry in (TASKS, NETWORKS, ACTIVATIONS, MEASUREMENTS):
        registry.forget("toys")


def test_toys_run_from_the_configuration_to_a_table(load, tmp_path, one_thread):
    plan = load()
    assert plan.tables("e")["trained_moment"].group == "moment"
    assert MEASUREMENTS["moment"].axes("trained") == ("seed", "step", "probe")
    files = {"dataset": "dataset.h5", "networks": "train.h5", "measurements": "ntk.h5"}
    for script, stage, block, made in (
        ("make_dataset", "dataset", None, "dataset"),
        ("train_ensemble", "train", "0-1", "networks"),
        ("extract_ntk", "ntk", "0-1", "measurements"),
    ):
        cfg = plan.job_config(stage, "e", "all", block)
        device = [] if stage == "dataset" else ["cpu"]
        importlib.import_module(script).main(files, {made: files[made]}, cfg, *device)
    with open_file("ntk.h5", "ntk") as measured, open_file("train.h5", "train") as run:
        values = measured.array("moment/value").values
        weights = [run.array(f"weights/{name}").values for name in ("0.weight", "2.weight")]
    assert values.shape == (2, 2, 3)  # seeds, before and after, places
    hidden = np.maximum(np.array([[0.0], [0.5], [1.0]]) @ weights[0].transpose(0, 2, 1), 0)
    outputs = (hidden @ weights[1].transpose(0, 2, 1) / 3**0.5)[..., 0]
    np.testing.assert_allclose(values[:, 1], outputs**2, rtol=1e-5)


def test_code_of_a_job_lists_the_toys_that_it_names(load):
    plan = load()
    assert "toys.py" in plan.code("ntk", "e", "all")
    other = {"kind": "circle_product", "train_points": 8}
    network = {"kind": "mlp", "depth": 1, "width": 3}
    plain = [{"kind": "profile", "when": ["trained"]}]
    plan = load(task=other, network=network, measurements=plain)
    assert "toys.py" not in plan.code("ntk", "e", "all")
    curved = load(task=other, network=network | {"activation": "softplus"}, measurements=plain)
    assert "toys.py" in curved.code("ntk", "e", "all")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": {"kind": "ramp", "points": 1}}, r"task\.points: 1 is not allowed; .*>= 2"),
        ({"task": {"kind": "ramp", "points": 20}}, "needs at most nine training points"),
        ({"network": {"kind": "thin", "depth": 1}}, r"network\.depth: unknown key; allowed: "),
        (
            {"measurements": [{"kind": "moment", "when": ["limit"]}]},
            "'limit' is not allowed for moment; allowed: initialization, trained",
        ),
        (
            {"measurements": [{"kind": "moment", "when": ["trained"], "power": 4}]},
            r"power: 4 is not allowed; allowed: integer >= 1 and <= 3",
        ),
        (
            {"measurements": [{"kind": "momnt", "when": ["trained"]}]},
            "'momnt' is unknown; .*did you mean moment",
        ),
    ],
)
def test_mistakes_are_named_in_one_line(load, changes, message):
    with pytest.raises(ConfigurationError, match=message) as error:
        load(**changes)
    assert "\n" not in str(error.value)


def test_an_activation_of_ones_own_is_built(load):
    load()
    from ntkstudy.subjects.networks import build_network

    network = {"kind": "mlp", "depth": 2, "width": 3, "activation": "softplus"}
    built = build_network(network, 2, 1)
    assert [type(layer).__name__ for layer in built][1::2] == ["Softplus", "Softplus"]
    assert built[1] is not built[3]


TWICE = """
from ntkstudy.registry import measurement


@measurement("toy", when="trained")
def first(options, network, data): ...


@measurement("toy", when="trained")
def second(options, network, data): ...
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from ntkstudy.registry import nothing", "'toys': ImportError: cannot import name 'noth"),
        ("def (", "'toys': SyntaxError: invalid syntax"),
        ("x = y", "'toys': NameError: name 'y' is not defined; allowed: "),
        (TWICE, "measurement 'toy': is registered twice for trained"),
        (TWICE.replace("trained", "traind"), "'traind' is unknown; .*did you mean trained"),
    ],
)
def test_an_extension_with_a_mistake_is_named_in_one_line(load, text, message):
    Path("toys.py").write_text(text)
    with pytest.raises(ConfigurationError, match=message) as error:
        load()
    assert "\n" not in str(error.value)


def test_an_extension_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {"results": "results/x", "extensions": ["no_such_module"]}
    Path("config.yaml").write_text(yaml.safe_dump(config | {"experiments": {"e": EXPERIMENT}}))
    with pytest.raises(ConfigurationError, match=r"extensions: 'no_such_module': .*; allowed: "):
        load_plan(["config.yaml"], ROOT / "config" / "schema.yaml")
