"""A network of one's own: any torch module, trained on any file."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from plans import SCHEMA, build_plan
from study_cases import measured, task_data

import extract_ntk
import make_dataset
import train_ensemble
from ntkflow.errors import ConfigurationError
from ntkflow.networks import draw_parameters, member
from ntkstudy.data.storage import open_file
from ntkstudy.plan.layers import experiment_rules
from ntkstudy.schemas import complete_experiment
from ntkstudy.subjects.members import Members
from ntkstudy.subjects.networks import build_network

TOY = '''
import torch
from toy_parts import Wave


class Toy(torch.nn.Module):
    """Two layers with a wave between them."""

    def __init__(self, width, outputs=2):
        super().__init__()
        self.first, self.wave = torch.nn.Linear(3, width), Wave()
        self.last = torch.nn.Linear(width, outputs)

    def forward(self, x):
        return self.last(self.wave(self.first(x)))


class Shifted(Toy):
    def __init__(self, width):
        super().__init__(width)
        self.register_buffer("shift", torch.ones(2))


class Masked(Toy):
    def __init__(self, width):
        super().__init__(width)
        self.wave = torch.nn.Dropout(0.5)


class Column(Toy):
    def forward(self, x):
        return super().forward(x)[:, 0]


number = 3
'''
PARTS = """
import torch


class Wave(torch.nn.Module):
    def forward(self, x):
        return torch.sin(x)
"""
BLOCK = {"kind": "module", "name": "toy:Toy", "options": {"width": 4}}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a toy class and a tiny data set; its modules are forgotten afterwards."""
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "toy_parts.py").write_text(PARTS)
    rng = np.random.default_rng(0)
    arrays = {"inputs": rng.normal(size=(6, 3)), "targets": rng.normal(size=(6, 2))}
    arrays |= {"test_inputs": rng.normal(size=(5, 3)), "test_targets": rng.normal(size=(5, 2))}
    np.savez(tmp_path / "data.npz", **arrays)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("toy", "toy_parts"):
        sys.modules.pop(name, None)


def plan_of(**changes):
    return build_plan(
        **{
            "task": {"kind": "file", "path": "data.npz"},
            "network": BLOCK,
            "training": {"learning_rate": 0.1, "steps": 4, "dtype": "float64"},
            "measurements": [{"kind": "gram", "when": ["trained", "training"]}],
            "sweep": {"network.options.width": [4, 6]},
            "seeds": 2,
        }
        | changes
    )


def largest_eigenvalue(network, x) -> float:
    """That of the kernel, its mean over outputs, from one gradient at a time."""
    gradients = [
        [torch.autograd.grad(value, list(network.parameters()), retain_graph=True) for value in row]
        for row in network(x)
    ]
    rows = [[torch.cat([part.flatten() for part in one]) for one in row] for row in gradients]
    features = torch.stack([torch.stack(row) for row in rows])
    kernel = torch.einsum("nop,mop->nm", features, features) / features.shape[1]
    return torch.linalg.eigvalsh(kernel)[-1].item()


def test_it_is_trained_and_measured_like_any_other(project, one_thread):
    plan = plan_of()
    assert [cell.label for cell in plan.cells("e")] == ["width~4", "width~6"]
    label = "width~6"
    make_dataset.main(
        {"files": plan.task_files("e", "all")},
        {"dataset": "data.h5"},
        plan.job_config("dataset", "e", "all"),
    )
    cfg = plan.job_config("train", "e", label, "0-1")
    assert cfg["network"]["options"] == {"width": 6}
    data = {"dataset": "data.h5"}
    train_ensemble.main(data, {"networks": "run.h5"}, cfg, "cpu")
    ntk = plan.job_config("ntk", "e", label, "0-1")
    extract_ntk.main(data | {"networks": "run.h5"}, {"measurements": "ntk.h5"}, ntk, "cpu")

    arrays = np.load("data.npz")
    x, y = (torch.tensor(arrays[name]) for name in ("inputs", "targets"))
    import toy

    start = draw_parameters(build_network(cfg["network"], 3, 2), [1], dtype=torch.float64)
    alone = toy.Toy(6).double()
    alone.load_state_dict(member(start, 0))
    descent = torch.optim.SGD(alone.parameters(), lr=0.1)
    tops = []
    for step in range(5):
        tops.append(largest_eigenvalue(alone, x))
        if step == 4:
            break
        descent.zero_grad()
        (alone(x) - y).square().sum(1).mean().backward()
        descent.step()
    with open_file("run.h5", "train") as run, open_file("ntk.h5", "ntk") as measured:
        for name, value in alone.named_parameters():
            found = run.array(f"weights/{name}", 1).values
            np.testing.assert_allclose(found, value.detach().numpy(), rtol=1e-12, atol=1e-14)
        top = measured.array("gram/lambda_max").values
        np.testing.assert_allclose(top[1], [tops[0], tops[-1]], rtol=1e-10)


def test_its_module_and_what_that_imports_are_code_of_the_jobs(project):
    plan = plan_of()
    for stage in ("train", "ntk"):
        assert {"toy.py", "toy_parts.py"} <= set(plan.code(stage, "e", "width~4"))
    assert "toy.py" not in plan.code("dataset", "e", "all")


def test_planning_does_not_import_it(project):
    (project / "toy.py").write_text("raise SystemExit('imported')\n")
    plan_of()
    assert "toy" not in sys.modules


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "nowhere:Toy"},
         "'nowhere:Toy': No module named 'nowhere'; allowed: the name of a module's class"),
        ({"name": "toy:Tou"},
         "'toy:Tou': module 'toy' has no attribute 'Tou'; allowed: the name of a module's class"),
        ({"name": "toy:number"}, "'toy:number': options {'width': 4} on 3 inputs: 'int' object is"),
        ({"options": {}}, "'toy:Toy': options {} on 3 inputs: Toy.__init__() missing 1 required"),
        ({"options": {"wdth": 4}},
         "'toy:Toy': options {'wdth': 4} on 3 inputs: Toy.__init__() got an unexpected keyword"),
        ({"options": {"width": "a"}}, "'toy:Toy': options {'width': 'a'} on 3 inputs: "),
        ({"options": {"width": 4, "outputs": 5}},
         "'toy:Toy': maps (2, 3) to (2, 5); allowed: outputs (2, 2), as the task has"),
        ({"name": "toy:Column"}, "'toy:Column': maps (2, 3) to (2,); allowed: outputs (2, 2)"),
        ({"name": "toy:Shifted"}, "'toy:Shifted': holds the buffer 'shift', which no seed draws"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(project, changes, problem):
    with pytest.raises(ConfigurationError) as error:
        build_network(BLOCK | changes, 3, 2)
    assert str(error.value).startswith(f"network.name: {problem}")
    assert "\n" not in str(error.value)
    assert "; allowed: " in str(error.value)


def test_what_needs_one_mode_refuses_a_module_with_dropout(project):
    network = build_network(BLOCK | {"name": "toy:Masked"}, 3, 2)
    start = draw_parameters(network, [0])
    masked = Members(network, start, start, [0])
    with task_data(
        project, {"kind": "file", "path": "data.npz", "data_seed": 0}, ["data.npz"]
    ) as data:
        with pytest.raises(ConfigurationError, match=r"'function' \(trained\) .*without dropout"):
            measured("function", masked, data)
        assert np.isfinite(measured("gram", masked, data)["lambda_max"]).all()


def test_inputs_that_do_not_fit_are_named(project):
    with pytest.raises(ConfigurationError, match=r"'toy:Toy': options .* on 7 inputs: .*; allow"):
        build_network(BLOCK, 7, 2)


def test_a_job_says_it_in_its_last_line(project):
    plan = plan_of(network=BLOCK | {"name": "toy:Nothing"})
    make_dataset.main(
        {"files": ["data.npz"]}, {"dataset": "data.h5"}, plan.job_config("dataset", "e", "all")
    )
    record = {
        "input": {"dataset": "data.h5"}, "output": {"networks": "run.h5"}, "threads": 1, "gpu": 0,
        "cfg": plan.job_config("train", "e", "width~4", "0-1"),
    }  # fmt: skip
    (project / "job.json").write_text(json.dumps(record))
    call = [sys.executable, train_ensemble.__file__, "job.json"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "'toy:Nothing': module 'toy' has no attribute 'Nothing'" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["toy", "toy.Toy", ":Toy", "toy:", "1a:B", "a/b:C"])
def test_names_that_cannot_be_are_refused_at_planning(project, name):
    with pytest.raises(ConfigurationError, match=rf"network\.name: '{name}' is not allowed; allow"):
        load_block(project, BLOCK | {"name": name})


def load_block(folder, network):
    from plans import EXPERIMENT, load, wrap

    return load(folder, wrap(e=EXPERIMENT | {"network": network, "measurements": []}))


def test_options_under_a_swept_key_are_values_as_written():
    block = {"sweep": {"network.options.width": [4, 8.0]}, "network": BLOCK, "overrides": []}
    done = complete_experiment(block, experiment_rules(SCHEMA))
    assert done["sweep"] == {"network.options.width": [4, 8.0]}
