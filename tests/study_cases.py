"""Data sets and ensembles that tests of the study share."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ntkflow.empirical import empirical_ntk
from ntkflow.networks import draw_parameters, mlp
from ntkflow.training import GradientDescent, Objective, Penalty, Schedule, train_ensemble
from ntkstudy.data.dataset import DataSet, open_dataset
from ntkstudy.data.mnist_files import image_files
from ntkstudy.data.storage import Array, write_file
from ntkstudy.options import read_options
from ntkstudy.registry import TASKS, discover
from ntkstudy.subjects.measuring import measure
from ntkstudy.subjects.members import Members
from ntkstudy.subjects.networks import build_network

discover()

ROOT = Path(__file__).parents[1]
DIGITS = {
    "kind": "mnist", "source": "bundled", "train_points": 30, "test_points": 20,
    "test_from": "train", "selection": "random", "image_size": 7, "scaling": "normalised",
    "data_seed": 1,
}  # fmt: skip
DIGITS_NETWORK = {
    "kind": "mlp", "depth": 2, "width": 12, "activation_first": "linear",
    "parameterization": "pytorch",
}  # fmt: skip


@contextmanager
def made_data(folder: Path, arrays: Mapping[str, Array], task: Mapping = {}) -> Iterator[DataSet]:
    """The data set of arrays by `group/name`, in a file of this folder."""
    cfg = {"stage": "dataset", "experiment": "e", "cell": {}, "task": task}
    write_file(folder / "dataset.h5", cfg, arrays)
    with open_dataset(folder / "dataset.h5") as data:
        yield data


def task_arrays(task: Mapping[str, Any], files: Sequence[str] = ()) -> Mapping[str, Array]:
    """Arrays of a `task` block, by `group/name`."""
    kind = TASKS[task["kind"]]
    return kind.make(read_options(kind.options, task), files)


def task_data(folder: Path, task: Mapping[str, Any], files: Sequence[str] = ()):
    """The data set of a `task` block."""
    return made_data(folder, task_arrays(task, files), task)


def labelled_data(folder: Path):
    """Eight training and six test inputs in five dimensions, of three classes."""
    g = np.random.default_rng(0)
    labels = np.eye(3)[g.integers(0, 3, 14)]
    arrays = {
        "train/x": Array(g.standard_normal((8, 5)), ["sample", "coordinate"]),
        "train/y": Array(labels[:8], ["sample", "output"]),
        "probe/x": Array(g.standard_normal((6, 5)), ["image", "coordinate"]),
        "probe/y": Array(labels[8:], ["image", "output"]),
        "probe/image": Array(np.arange(6), ["image"]),
    }
    return made_data(folder, arrays)


PENALISED = {"learning_rate": 0.5, "steps": 6, "l2": 0.01, "l1": 0.0, "decay": "coupled"}


@contextmanager
def noisy_classes(folder: Path, tests: int) -> Iterator[DataSet]:
    """Forty training and some test inputs of three noisy classes."""
    count = 40 + tests
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((count, 6)), rng.integers(0, 3, count)
    x[np.arange(count), labels] += 1.5
    y = np.eye(3)[labels]
    arrays = {
        "train/x": Array(x[:40], ["sample", "coordinate"]),
        "train/y": Array(y[:40], ["sample", "output"]),
        "probe/x": Array(x[40:], ["image", "coordinate"]),
        "probe/y": Array(y[40:], ["image", "output"]),
        "probe/image": Array(np.arange(tests), ["image"]),
    }
    with made_data(folder, arrays) as data:
        yield data


def labelled_networks(data: DataSet) -> Members:
    """Three networks after six steps on the labelled data, with a penalty."""
    network, seeds = mlp(5, (7,), 3), range(3)
    start = draw_parameters(network, seeds, dtype=torch.float64)
    x, y, *_ = in_float64(data)
    trained = train_ensemble(
        network, start, x, y, optimizer=GradientDescent(0.5, Penalty(l2=0.01)),
        schedule=Schedule(6), objective=Objective("cross_entropy"),
    ).parameters  # fmt: skip
    return Members(network, start, start, seeds, training=PENALISED).at(6, trained)


def mean_kernel(network, parameters: dict[str, torch.Tensor], data: DataSet) -> np.ndarray:
    """Kernel of one network on the training inputs, the mean over its outputs."""
    x = in_float64(data)[0]
    return empirical_ntk(network, x, parameters=parameters, outputs="mean").values.numpy()


def digits_data(folder: Path):
    """Small images of digits."""
    return task_data(
        folder, DIGITS, [str(ROOT / name) for name in image_files("bundled", None, "")]
    )


def digits_networks(seeds: int = 1, training: Mapping = {}, **changes: Any) -> Members:
    """Networks for these digits, their weights moved a little since the start."""
    described = DIGITS_NETWORK | changes
    network = build_network(described, 49, 10)
    start = draw_parameters(network, range(seeds))
    moved = {name: p + 0.05 * torch.sign(p) for name, p in start.items()}
    return Members(network, moved, start, range(seeds), described, training, 3)


def measured(
    kind: str, subject: Any, data: DataSet, when: str = "trained", **options: Any
) -> dict[str, np.ndarray]:
    """Values of one measurement, by name."""
    arrays = measure([{"kind": kind, **options}], when, subject, data)
    return {name.split("/")[1]: array.values for name, array in arrays.items()}


def in_float64(data: DataSet) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training inputs and targets, evaluation inputs and targets."""
    where = dict(dtype=torch.float64, device="cpu")
    return *data.training_set(**where), data.probe(**where), data.targets(**where)
