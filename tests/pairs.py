"""Every measurement at every moment on tiny cells: what a plan accepts must run."""

import importlib
import sys
from functools import cache
from pathlib import Path

import numpy as np

from ntkstudy.needs import Facts, Need
from ntkstudy.options import read_options
from ntkstudy.plan.checks import check_plan
from ntkstudy.plan.entries import read_facts
from ntkstudy.plan.planning import Plan
from ntkstudy.plan.schema import configuration_schema
from ntkstudy.registry import MEASUREMENTS, WHEN, discover
from ntkstudy.schemas import complete

ROOT = Path(__file__).parents[1]
discover()
SCHEMA = configuration_schema(ROOT / "config" / "schema.yaml")

GRID = {"probe_points": 16, "train_points": 6}
TASKS = {
    "gaussian": {"kind": "gaussian_product", **GRID},
    "circle": {"kind": "circle_product", **GRID},
    "mixture": {"kind": "circle_mixture", "modes": [1], "amplitudes": [1], "phases": [0], **GRID},
    "line": {"kind": "line_points", "inputs": [-1, 0.5, 1], "targets": [1, -1, 0.5],
             "probe_points": 5},
    "one point": {"kind": "line_points", "inputs": [1.5], "targets": [3], "probe_points": 5},
    "mnist": {"kind": "mnist", "train_points": 12, "test_points": 4, "image_size": 4},
    "labels": {"kind": "file", "path": "labels.npz", "classes": 3},
    "numbers": {"kind": "file", "path": "numbers.npz"},
}  # fmt: skip
NETWORKS = {
    "mlp": {"kind": "mlp", "depth": 1, "width": 6},
    "deep mlp": {"kind": "mlp", "depth": 2, "width": 6, "sigma_b": 0.1, "activation": "tanh"},
    "linear": {"kind": "mlp", "depth": 0, "width": 1},
    "pytorch": {"kind": "mlp", "depth": 1, "width": 6, "parameterization": "pytorch"},
    "standard": {"kind": "mlp", "depth": 1, "width": 6, "parameterization": "standard"},
    "batch": {"kind": "mlp", "depth": 1, "width": 6, "normalization": "batch"},
    "dropout": {"kind": "mlp", "depth": 1, "width": 6, "dropout": 0.2},
    "cnn": {"kind": "cnn", "depth": 1, "width": 3, "kernel_size": 3, "sigma_b": 0.1},
    "one parameter": {"kind": "one_parameter"},
    "module": {"kind": "module", "name": "own_networks:Own"},
}  # fmt: skip
# What the module of a user is told of each task.
OWN_SIZES = {
    **{task: {"inputs": 2, "outputs": 1} for task in ("gaussian", "circle", "mixture")},
    **{task: {"inputs": 1, "outputs": 1} for task in ("line", "one point")},
    "mnist": {"inputs": 16, "outputs": 10},
    "labels": {"inputs": 4, "outputs": 3},
    "numbers": {"inputs": 4, "outputs": 2},
}
TRAININGS = {
    "none": None,
    "mse": {"learning_rate": 1e-3, "steps": 4, "snapshots": 2, "records": 2},
    "centred": {"learning_rate": 1e-3, "steps": 4, "snapshots": 2, "centred": True},
    "penalty": {"learning_rate": 1e-3, "steps": 4, "snapshots": 2, "l2": 0.1},
    "cross-entropy": {"learning_rate": 1e-3, "steps": 4, "snapshots": 2, "loss": "cross_entropy"},
    "adam": {"learning_rate": 1e-3, "steps": 4, "snapshots": 2, "optimizer": "adam"},
}
# Options that make a measurement small, or that it has no default for.
OPTIONS = {
    "kernel_classifiers": {
        "fits": ["initial block zero", "trained mean random", "sample block ridge",
                 "average mean ridge", "limit mean ridge"],
        "sample_width": 4, "samples": 2, "steps": 3, "held_out": 0.34,
    },
    "learning_curve": {"pool": 10, "sizes": [2, 5], "ridges": [0.1], "draws": 2},
    "chosen_regression": {"depths": [1, 2], "sigma_bs": [0.1], "ridges": [0.1, 0.2],
                          "choosing_rows": 8, "compared_rows": 10},
    "network_against_kernel": {"sizes": [5, 10], "ridges": [0.1, 0.2], "draws": 2},
    "architecture_regression": {"train": 6, "test": 4, "folds": 2, "ridges": [0.1], "draws": 2},
    "pick_architecture": {"train": 6, "test": 4, "folds": 2, "ridges": [0.1], "draws": 2,
                          "choosing": 1, "width": 3, "architectures": ["mlp"], "depths": [1],
                          "sigma_ws": [1.0, 2.0], "sigma_bs": [0.1]},
    "estimate_wide": {"networks": 1, "halvings": 1},
    "trained_to_loss": {"levels": [0.9], "most_steps": 5, "against_limit": False},
    **{f"large_{name}": {"eigenvalues": 2, "compared_rows": 3, "steps": 3}
       for name in ("spectrum", "estimates", "density")},
    "definiteness": {"draws": 2, "width": 16},
    "cost_growth": {"draws": 2, "sizes": [2, 3]},
    "step_cost": {"draws": 2, "widths": [2, 3]},
    "minibatches": {"draws": 2, "sizes": [1, 2]},
    "least_norm": {"draws": 2, "steps": 5},
    "stability": {"steps": 3},
    "output_kurtosis": {"draws": 6, "groups": 3},
    "gram_top": {"eigenvalues": 2},
    "spectrum_cost": {"eigenvalues": 2},
    "residual_modes": {"eigenvectors": 3},
    "kernel_ridge": {"ridges": [0.1]},
    **{kind: {"tolerance": 0.1} for kind in ("kappa", "initial_kappa")},
}  # fmt: skip
DRAWS = ("output_covariance", "recursion", "linear_descent", "step_sweep", "initial_kappa",
         "convexity", "early_stopping", "principal_component")  # fmt: skip
OWN = """
from torch import nn

from ntkflow import Dense


class Own(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.hidden, self.last = Dense(inputs, 5), Dense(5, outputs)
        self.activation = nn.Tanh()

    def forward(self, x):
        return self.last(self.activation(self.hidden(x)))
"""
STAGES = {
    "initialization": "measure_initialization",
    "trained": "extract_ntk",
    "training": "train_ensemble",
    "machines": "fit_kernel_machines",
    "limit": "compute_limit_kernel",
    "prediction": "predict_limit",
    "theory": "check_theory",
    "assembled": "measure_assembled_kernel",
}


def write_own_files(folder: Path) -> None:
    """Data sets and a network of a user."""
    rng = np.random.default_rng(0)
    x, test_x = rng.standard_normal((12, 2, 2)), rng.standard_normal((3, 4))
    labels = {"targets": np.arange(12) % 3, "test_targets": np.arange(3)}
    numbers = {"targets": x.sum(2), "test_targets": test_x[:, :2]}
    for name, targets in (("labels", labels), ("numbers", numbers)):
        arrays = {"inputs": x, "test_inputs": test_x.reshape(3, 2, 2), **targets}
        np.savez(folder / f"{name}.npz", **arrays)
    (folder / "own_networks.py").write_text(OWN)


def complete_entry(kind: str) -> dict:
    """A measurement with options that make it small."""
    return {"kind": kind, **OPTIONS.get(kind, {}), **({"draws": 2} if kind in DRAWS else {})}


def block_of(kind: str, when: str, cell: tuple[str, str, str]) -> dict:
    """An experiment with one measurement of a task, a network and a training."""
    task, network, training = cell
    entry = {"when": [when], **complete_entry(kind)}
    block = {
        "title": "t", "source": "ours", "question": "q", "task": TASKS[task],
        "network": NETWORKS[network], "measurements": [entry], "seeds": 2, "initializations": 2,
    }  # fmt: skip
    if network == "module":
        block["network"] = {**NETWORKS[network], "options": OWN_SIZES[task], "has_limit": True}
    if TRAININGS[training] is not None:
        block["training"] = TRAININGS[training]
    if when == "assembled":
        kind = "limit" if network in ("mlp", "deep mlp", "cnn", "module") else "empirical"
        block["tiles"] = {"size": 7, "kernel": kind}
    return block


def build(kind: str, when: str, cell: tuple[str, str, str]) -> Plan:
    """A checked plan of one experiment; refused by a ConfigurationError."""
    experiments = {"e": block_of(kind, when, cell)}
    plan = Plan(complete({"results": "results", "experiments": experiments}, SCHEMA), SCHEMA)
    check_plan(plan)
    return plan


@cache
def facts_of(cell: tuple[str, str, str]) -> Facts:
    """What needs see of a cell, whose files lie in the present folder."""
    block = {"results": "results", "experiments": {"e": block_of("movement", "assembled", cell)}}
    return read_facts(complete(block, SCHEMA)["experiments"]["e"])


def unmet(kind: str, when: str, cell: tuple[str, str, str]) -> list[Need]:
    """What a measurement, or its network, needs and the cell lacks."""
    facts = facts_of(cell)
    found, variant = MEASUREMENTS[kind], MEASUREMENTS[kind].variants[when]
    asked = variant.asks(read_options(found.options, complete_entry(kind)))
    needs = [*facts.network.needs, *variant.needs, *asked]
    return [need for need in needs if not need.met(facts)]


def run(plan: Plan, when: str, folder: Path) -> Path:
    """Run the stage of a moment and those before it; the file that it writes."""
    for name in ("make_dataset", "train_ensemble", STAGES[when]):
        importlib.import_module(name)
    files = {"dataset": str(folder / "dataset.h5"), "networks": str(folder / "train.h5")}
    label = plan.cells("e", "dataset")[0].label
    _call("make_dataset", {"files": plan.task_files("e", label)}, "dataset", files["dataset"],
         plan.job_config("dataset", "e", label))  # fmt: skip
    if when in ("trained", "machines", "training"):
        cfg = plan.job_config("train", "e", "all", "0-1")
        _call("train_ensemble", files, "networks", files["networks"], cfg, "cpu")
    if when == "assembled":
        files["kernel"] = _assemble(plan, files, folder)
    if when == "training":
        return Path(files["networks"])
    stage = {"trained": "ntk"}.get(when, when)
    block = "0-1" if when in ("initialization", "trained", "machines") else None
    made = str(folder / "made.h5")
    output = "checks" if when == "theory" else "measurements"
    _call(STAGES[when], files, output, made, plan.job_config(stage, "e", "all", block), "cpu")
    return Path(made)


def _assemble(plan: Plan, files: dict, folder: Path) -> str:
    """Make the tiles of a kernel, and assemble it."""
    for name in ("compute_kernel_tile", "assemble_kernel"):
        importlib.import_module(name)
    tiles = []
    for block in plan.blocks("e", "tile", "all"):
        tiles.append(str(folder / f"{block}.h5"))
        _call("compute_kernel_tile", files, "tile", tiles[-1],
              plan.job_config("tile", "e", "all", block), "cpu")  # fmt: skip
    sys.modules["assemble_kernel"].main({"tiles": tiles}, {"kernel": str(folder / "kernel.h5")})
    return str(folder / "kernel.h5")


def _call(script: str, input: dict, name: str, file: str, cfg: dict, device: str | None = None):
    arguments = [input, {name: file}, cfg, *([device] if device else [])]
    sys.modules[script].main(*arguments)


PAIRS = [(kind, when) for kind in MEASUREMENTS for when in WHEN]
CELLS = [
    (task, network, training)
    for task in TASKS
    for network in NETWORKS
    for training in TRAININGS
    if training != "cross-entropy" or task in ("mnist", "labels")
    if (network, training) != ("dropout", "centred")
]
