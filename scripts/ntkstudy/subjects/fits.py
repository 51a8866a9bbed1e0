"""Kernel machines on the kernels of one network, of others like it, and of their limit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ntkflow.empirical import empirical_ntk
from ntkflow.limits import limit_kernels
from ntkflow.linalg.spectra import block_matrix
from ntkflow.networks import draw_parameters, member
from ntkflow.randomness import generator
from ntkflow.regression.classifiers import (
    ClassifierFit,
    KernelPair,
    classifier_scores,
    cross_entropy_classifiers,
    held_out_ridge_classifier,
)

from ..data.dataset import DataSet
from ..data.storage import Array
from .members import Members
from .networks import build_narrow, build_network
from .pace import told

# Variance of torch.nn's default weights times fan-in; infinitely wide layers have no biases.
PYTORCH_SIGMA_W = 3**-0.5

UNITS = {
    "train_accuracy": "share of the images",
    "test_accuracy": "share of the images",
    "disagreement": "share of the test images where the fit and the network name other digits",
    "updates": "steps of Adam",
    "ridge": "over the mean of the kernel's diagonal",
}


def kernel_classifiers(options: Any, network: Members, data: DataSet) -> dict[str, Array]:
    """Accuracy of a trained network and of every fit on the same images.

    Args:
        options: of the measurement `kernel_classifiers`.
        network: one network.
        data: the data set.
    """
    # Another draw for every data set and seed.
    seed = 100 * data.task["data_seed"] + network.seeds[0]
    x, y = data.training_set(**network.where)
    test_x, targets = data.probe(**network.where), data.targets(**network.where)
    labels = y.argmax(1), targets.argmax(1)
    own = ClassifierFit(*(network.outputs(each).T[None] for each in (x, test_x)))
    rows = {"network": (own, classifier_scores(own, *labels, own.test[0]))}
    kernels = Kernels(options, network, data, seed)
    for whose, wanted in told(_kernels_of(options.fits).items(), "{0[0]} kernel".format):
        pairs = kernels.kernels(whose, list(wanted))
        for outputs, machines in wanted.items():
            for machine, fit in _fit(pairs.pop(outputs), machines, y, options, seed).items():
                scores = classifier_scores(fit, *labels, own.test[0])
                rows[f"{whose} {outputs} {machine}"] = (fit, scores)
    names = ["network", *options.fits]
    numbers = [[*rows[name][1], rows[name][0].updates, rows[name][0].ridge] for name in names]
    arrays = zip(UNITS.items(), np.array(numbers).T, strict=True)
    return {"fit": Array(np.array(names, dtype="S"), ["fit"])} | {
        name: Array(values, ["fit"], unit) for (name, unit), values in arrays
    }


def _kernels_of(fits: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Whose kernel, over which outputs, to the machines that are fitted on it."""
    wanted: dict[str, dict[str, list[str]]] = {}
    for whose, outputs, machine in map(str.split, fits):
        wanted.setdefault(whose, {}).setdefault(outputs, []).append(machine)
    return wanted


def _fit(
    kernels: KernelPair, machines: Sequence[str], y: Tensor, options: Any, seed: int
) -> dict[str, ClassifierFit]:
    """Fits by machine."""
    starts = {name: _starts(name, y, options, seed) for name in machines if name != "ridge"}
    found: dict[str, ClassifierFit] = {}
    if starts:
        names = ("learning_rate", "steps", "tolerance")
        adam = {name: getattr(options, name) for name in names}
        found |= cross_entropy_classifiers(kernels, y, starts, **adam)
    if "ridge" in machines:
        found["ridge"] = held_out_ridge_classifier(
            kernels, y, options.ridges, held_out=options.held_out
        )
    return found


def _starts(name: str, y: Tensor, options: Any, seed: int) -> Tensor:
    """Coefficients (starts, O, M): zero once, or several times drawn from N(0, 1)."""
    if name == "zero":
        return torch.zeros(1, *y.T.shape, device=y.device)
    drawn = generator(seed, "split").standard_normal((options.starts, *y.T.shape))
    return torch.as_tensor(drawn, dtype=y.dtype, device=y.device)


@dataclass(frozen=True)
class Kernels:
    """Makes the kernels that fits ask for, one at a time: a block kernel is large."""

    options: Any
    network: Members
    data: DataSet
    seed: int

    def kernels(self, whose: str, outputs: Sequence[str]) -> dict[str, KernelPair]:
        """Kernel matrices by "block" and "mean"; where both are asked for, one gives the other."""
        if whose == "limit":
            return {"mean": self._limit()}
        most = "block" if "block" in outputs else "mean"
        pair = self._mean(whose, most)
        if most == "mean":
            return {"mean": pair}
        found = {"block": KernelPair(*map(block_matrix, pair))}
        if "mean" in outputs:
            found["mean"] = KernelPair(*(k.diagonal(dim1=0, dim2=1).mean(-1) for k in pair))
        return found

    def _mean(self, whose: str, outputs: str) -> KernelPair:
        """Kernels of one network, or their mean over several."""
        network, options = self.network, self.options
        if whose in ("initial", "trained"):
            own = {"initial": network.start_weights, "trained": network.weights}
            return self._empirical(network.network, own[whose], outputs)
        block = {**network.described, "width": options.sample_width}
        sample = build_network(block, *self.data.sizes)
        count = options.samples if whose == "average" else 1
        # Their own seeds, so that none is the trained network's start.
        first, total = 10**6 + self.seed * 10**3, None
        for one in told(range(first, first + count), "sample"):
            drawn = member(draw_parameters(sample, [one], **network.where), 0)
            found = self._empirical(sample, drawn, outputs)
            total = found if total is None else KernelPair(*map(Tensor.add_, total, found))
        return KernelPair(*(part.div_(count) for part in total))

    def _empirical(
        self, network: nn.Module, parameters: dict[str, Tensor], outputs: str
    ) -> KernelPair:
        options = dict(parameters=parameters, outputs=outputs)
        return KernelPair(
            *(empirical_ntk(network, *inputs, **options).values for inputs in self._pairs())
        )

    def _limit(self) -> KernelPair:
        network = limit_network(self.network.described, *self.data.sizes)
        options = dict(only="ntk", dtype=self.network.where["dtype"])
        return KernelPair(*(limit_kernels(network, *pair, **options).ntk for pair in self._pairs()))

    def _pairs(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        x, _ = self.data.training_set(**self.network.where)
        return (x,), (self.data.probe(**self.network.where), x)


def limit_network(block: Mapping[str, Any], *sizes: int) -> nn.Module:
    """The network in NTK parameterization whose functions at initialisation have the same limit.

    torch.nn draws weights with variance 1 / (3 fan_in); its biases vanish at infinite width. The
    kernel of the standard parameterization grows with the width; this one has a limit.
    """
    if block.get("parameterization") == "pytorch":
        block = {**block, "sigma_w": PYTORCH_SIGMA_W, "sigma_b": 0.0}
    if "parameterization" in block:
        block = {**block, "parameterization": "ntk"}
    return build_narrow(block, *sizes)
