"""What a network's kernels learn where the network learned: kernel machines on one data set.

A *fit* has a name of three words, such as "sample block ridge":

- whose kernel: "initial" and "trained", the network's own before and after training; "sample", one
  other network at initialisation; "average", the mean over many such; "limit", infinite width;
- "block", all pairs of outputs, or "mean", the mean over outputs, shared by them;
- "random" (several starts, their scores averaged) or "zero", the start of Adam on cross-entropy,
  or "ridge".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ntkflow.empirical import empirical_ntk
from ntkflow.limits import limit_kernels
from ntkflow.linalg.spectra import block_matrix
from ntkflow.networks import draw_parameters, member
from ntkflow.randomness import generator
from ntkflow.regression.kernel_machines import (
    accuracy,
    choose_ridge,
    evaluate,
    fit_cross_entropy,
    ridge_classifier,
)

from ..data.inputs import input_sizes, load_probe, load_targets, load_training_set
from ..data.storage import Array, StageFile
from ..networks import build_network
from .networks import Member

# Variance of torch.nn's default weights times fan-in; infinitely wide layers have no biases.
PYTORCH_SIGMA_W = 3**-0.5


class KernelPair(NamedTuple):
    """Kernel matrices on the training images, and of the test images against them."""

    gram: Tensor
    cross: Tensor


@dataclass(frozen=True)
class Digits:
    """Training and test images, one-hot targets and labels."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    labels: Tensor
    test_labels: Tensor

    @staticmethod
    def load(data: StageFile, **where: Any) -> "Digits":
        """From a data set's file."""
        x, y = load_training_set(data, **where)
        targets = load_targets(data, **where)
        return Digits(x, y, load_probe(data, **where), y.argmax(1), targets.argmax(1))


def kernel_classifiers(
    entry: Mapping[str, Any],
    network: Mapping[str, Any],
    trained: Member,
    data: StageFile,
    *,
    seed: int,
) -> dict[str, Array]:
    """Accuracy of the trained network and of every fit on the same images.

    Args:
        entry: block of the configuration: fits, sample_width, samples, starts, learning_rate,
            steps, tolerance, ridges, held_out.
        network: `network` block of the configuration.
        trained: the network.
        data: the data set's file.
        seed: of the networks that are drawn and of random starts.
    """
    digits = Digits.load(data, **trained.where)
    draw = Kernels(entry, network, trained, digits, input_sizes(data), seed)
    own = (trained.outputs(digits.x).T, trained.outputs(digits.test_x).T)
    rows = {"network": _score([own], own, digits)}
    for whose, wanted in _kernels_of(entry["fits"]).items():
        kernels = draw.kernels(whose, list(wanted))
        for outputs, machines in wanted.items():
            found = _fit(kernels.pop(outputs), machines, digits, entry, seed)
            for machine, (fitted, extra) in found.items():
                rows[f"{whose} {outputs} {machine}"] = _score(fitted, own, digits) | extra
    names = ["network", *entry["fits"]]
    arrays = {
        f"kernel_classifiers/{column}": Array(
            np.array([rows[name].get(column, np.nan) for name in names]), ["fit"], unit
        )
        for column, unit in UNITS.items()
    }
    return {"kernel_classifiers/fit": Array(np.array(names, dtype="S"), ["fit"])} | arrays


def _kernels_of(fits: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Whose kernel, over which outputs, to the machines that are fitted on it."""
    wanted: dict[str, dict[str, list[str]]] = {}
    for whose, outputs, machine in map(str.split, fits):
        wanted.setdefault(whose, {}).setdefault(outputs, []).append(machine)
    return wanted


UNITS = {
    "train_accuracy": "share of the images",
    "test_accuracy": "share of the images",
    "disagreement": "share of the test images where the fit and the network name other digits",
    "updates": "steps of Adam",
    "ridge": "over the mean of the kernel's diagonal",
}


def _score(outputs: Sequence[tuple], network: tuple[Tensor, Tensor], digits: Digits) -> dict:
    """Accuracies of outputs (O, N) on training and test images, means over several fits."""
    differs = [found[1].argmax(0) != network[1].argmax(0) for found in outputs]
    scores = {
        "train_accuracy": [accuracy(found[0], digits.labels) for found in outputs],
        "test_accuracy": [accuracy(found[1], digits.test_labels) for found in outputs],
        "disagreement": [each.double().mean().item() for each in differs],
    }
    return {name: float(np.mean(values)) for name, values in scores.items()}


def _fit(kernels: KernelPair, machines: list[str], digits: Digits, entry, seed: int) -> dict:
    """By machine: outputs on training and test images of each start, and what else is known."""
    found = {}
    starts = {name: _starts(name, digits, entry, seed) for name in machines if name != "ridge"}
    if starts:
        options = {key: entry[key] for key in ("learning_rate", "steps", "tolerance")}
        fit = fit_cross_entropy(kernels.gram, digits.y, torch.cat(list(starts.values())), **options)
        parts = fit.coefficients.split([len(begin) for begin in starts.values()])
        for name, coefficients in zip(starts, parts, strict=True):
            outputs = [tuple(evaluate(kernel, one) for kernel in kernels) for one in coefficients]
            found[name] = (outputs, {"updates": fit.updates})
    if "ridge" in machines:
        ridge = choose_ridge(kernels.gram, digits.y, entry["ridges"], held_out=entry["held_out"])
        both = torch.cat([kernels.gram, kernels.cross])
        if len(kernels.gram) > len(digits.y):  # block kernels: outputs first
            both = _join_blocks(kernels, digits.y.shape[1])
        outputs = ridge_classifier(kernels.gram, both, digits.y, ridge=ridge)
        sizes = [len(digits.labels), len(digits.test_labels)]
        found["ridge"] = ([outputs.split(sizes, dim=1)], {"ridge": ridge})
    return found


def _join_blocks(kernels: KernelPair, outputs: int) -> Tensor:
    """Rows of the training and test images together in each output's block."""
    return torch.cat([each.unflatten(0, (outputs, -1)) for each in kernels], 1).flatten(0, 1)


def _starts(name: str, digits: Digits, entry: Mapping[str, Any], seed: int) -> Tensor:
    """Coefficients (starts, O, M): zero once, or several times drawn from N(0, 1)."""
    shape = digits.y.T.shape
    if name == "zero":
        return torch.zeros(1, *shape, device=digits.y.device)
    drawn = generator(seed, "split").standard_normal((entry["starts"], *shape))
    return torch.as_tensor(drawn, dtype=digits.y.dtype, device=digits.y.device)


@dataclass(frozen=True)
class Kernels:
    """Makes the kernels that fits ask for, one at a time: a block kernel is large."""

    entry: Mapping[str, Any]
    block: Mapping[str, Any]
    trained: Member
    digits: Digits
    sizes: tuple[int, int]
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
        if whose in ("initial", "trained"):
            own = {"initial": self.trained.start, "trained": self.trained.parameters}
            return self._empirical(self.trained.network, own[whose], outputs)
        network = build_network(self.block | {"width": self.entry["sample_width"]}, *self.sizes)
        count = self.entry["samples"] if whose == "average" else 1
        # Their own seeds, so that none is the trained network's start.
        seeds = range(10**6 + self.seed * 10**3, 10**6 + self.seed * 10**3 + count)
        total = None
        for one in seeds:
            drawn = member(draw_parameters(network, [one], **self.trained.where), 0)
            found = self._empirical(network, drawn, outputs)
            total = found if total is None else KernelPair(*map(Tensor.add_, total, found))
        return KernelPair(*(part.div_(count) for part in total))

    def _empirical(self, network, parameters: dict[str, Tensor], outputs: str) -> KernelPair:
        x, test_x = self.digits.x, self.digits.test_x
        return KernelPair(
            *(
                empirical_ntk(network, *inputs, parameters=parameters, outputs=outputs).values
                for inputs in ((x,), (test_x, x))
            )
        )

    def _limit(self) -> KernelPair:
        network, x = limit_network(self.block, *self.sizes), self.digits.x
        pairs = ((x,), (self.digits.test_x, x))
        return KernelPair(
            *(limit_kernels(network, *inputs, only="ntk", dtype=x.dtype).ntk for inputs in pairs)
        )


def limit_network(block: Mapping[str, Any], *sizes: int) -> torch.nn.Module:
    """The network in NTK parameterization whose functions at initialisation have the same limit.

    torch.nn draws weights with variance 1 / (3 fan_in); its biases vanish at infinite width. The
    kernel of the standard parameterization grows with the width; this one has a limit.
    """
    if block["parameterization"] == "pytorch":
        block = {**block, "sigma_w": PYTORCH_SIGMA_W, "sigma_b": 0.0}
    return build_network({**block, "parameterization": "ntk", "width": 1}, *sizes)
