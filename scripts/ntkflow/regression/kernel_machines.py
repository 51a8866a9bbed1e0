"""Kernel machines f(x) = sum_i K(x, x_i) c_i as classifiers: Adam on cross-entropy, or ridge.

Kernels are matrices: (N, M) where all outputs share the kernel, or (O N, O M), the block kernel
that couples outputs, in the order of `ntkflow.block_matrix`. Coefficients are (..., O, M) for both.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ConfigurationError
from ..linalg.solving import stored_product
from ..training.losses import CrossEntropy
from ..training.optimizers import Adam
from .ridge import ridge_regression

# Rows and columns of a tile of a block kernel.
_TILE = 512


class Fit(NamedTuple):
    """Coefficients (S, O, M) of machines trained together, and how many updates they got."""

    coefficients: Tensor
    updates: int


def evaluate(
    kernel: Float[Tensor, "rows columns"], coefficients: Float[Tensor, "*s o m"]
) -> Float[Tensor, "*s o n"]:
    """Outputs f = K c at the rows of the kernel.

    Args:
        kernel: (N, M), shared by the outputs, or (O N, O M).
        coefficients: c, one row per output.

    Examples:
        >>> from ntkflow.regression.kernel_machines import evaluate
        >>> evaluate(torch.eye(2), torch.tensor([[3.0, 4.0]]))
        tensor([[3., 4.]])
    """
    outputs, samples = coefficients.shape[-2:]
    if kernel.shape[1] == samples:
        return coefficients @ kernel.T
    return (coefficients.flatten(-2) @ kernel.T).unflatten(-1, (outputs, -1))


def fit_cross_entropy(
    gram: Float[Tensor, "rows rows"],
    y: Float[Tensor, "m o"],
    start: Float[Tensor, "s o m"],
    *,
    learning_rate: float,
    steps: int,
    tolerance: float = 0.0,
) -> Fit:
    """Train kernel machines by full-batch Adam on the softmax cross-entropy.

    L(c) = -(1/M) sum_i log softmax(K c)_{y_i}; its gradient is K (softmax - y) / M. A step reads K
    twice, whatever the number of machines, or half of it where it couples outputs. Residuals of
    saturated softmaxes underflow: after `torch.set_flush_denormal(True)` such steps take a quarter
    of the time on a CPU.

    Args:
        gram: K on the training points, symmetric; its type and device are those of the training.
        y: one-hot targets.
        start: coefficients at the start, one set per machine.
        learning_rate: of Adam, > 0.
        steps: most updates.
        tolerance: stop when all losses are below it.

    Returns:
        Final coefficients and the number of updates.
    """
    machines = _Machines(gram, start.to(gram).clone())
    y = y.to(gram)
    outputs = torch.empty(len(start), *y.shape, dtype=gram.dtype, device=gram.device)
    residual = torch.empty_like(outputs)
    loss = CrossEntropy(y, 1.0, torch.zeros_like(outputs))
    stepper = Adam(learning_rate).begin()
    for step in range(steps):
        machines.forward(outputs)
        if tolerance > 0 and bool((loss.value(outputs) < tolerance).all()):
            return Fit(machines.parameters[0], step)
        stepper.update(machines, loss, outputs, residual)
    return Fit(machines.parameters[0], steps)


class _Machines:
    """Machines on one kernel as the group of models that an optimizer updates."""

    def __init__(self, gram: Tensor, coefficients: Tensor):
        self.gram, self.parameters = gram, [coefficients]

    def forward(self, out: Tensor) -> None:
        """Write the outputs (S, M, O) into `out`."""
        out.copy_(self._multiply(self.parameters[0]).mT)

    def pull_back(
        self, cotangent: Tensor, into: list[Tensor], scale: float, *, keep: float = 1.0
    ) -> None:
        """Multiply `into` by `keep` and add `scale` K times the cotangent; K is symmetric."""
        into[0].mul_(keep).add_(self._multiply(cotangent.mT), alpha=scale)

    def _multiply(self, c: Float[Tensor, "s o m"]) -> Float[Tensor, "s o m"]:
        """Products K c; a block kernel is large, and one triangle of it is all that is read."""
        wide = self.gram.dtype in (torch.float32, torch.float64)
        if len(self.gram) == c.shape[-1] or self.gram.device.type != "cpu" or not wide:
            return evaluate(self.gram, c)
        found = stored_product(lambda i, j: self.gram[i, j], c.flatten(-2).contiguous(), _TILE)
        return found.to(c).reshape(c.shape)


def flatten_targets(
    kernel: Float[Tensor, "rows columns"], y: Float[Tensor, "m o"]
) -> Float[Tensor, "columns *o"]:
    """Targets as `ridge_regression` takes them beside a kernel of this shape."""
    return y if kernel.shape[1] == len(y) else y.T.reshape(-1)


def ridge_classifier(
    gram: Float[Tensor, "rows rows"],
    cross_gram: Float[Tensor, "others rows"],
    y: Float[Tensor, "m o"],
    *,
    ridge: float,
) -> Float[Tensor, "o n"]:
    """Outputs of kernel ridge regression on one-hot targets, in float64.

    Args:
        gram: K on the training points.
        cross_gram: of other points against them, in the same layout.
        y: one-hot targets.
        ridge: over the mean of K's diagonal.
    """
    absolute = ridge * gram.diagonal().double().mean().item()
    found = ridge_regression(gram, cross_gram, flatten_targets(gram, y), ridge=absolute)
    return found.T if found.ndim == 2 else found.reshape(y.shape[1], -1)


def choose_ridge(
    gram: Float[Tensor, "rows rows"],
    y: Float[Tensor, "m o"],
    ridges: Sequence[float],
    *,
    held_out: float,
) -> float:
    """The ridge with the best accuracy on held-out training points, the largest of equal ones.

    Args:
        gram: K on the training points.
        y: one-hot targets.
        ridges: candidates, over the mean of K's diagonal.
        held_out: share of the points, the last ones, that judge and are not trained on.

    Raises:
        ConfigurationError: if a share of that size leaves no point on one side.
    """
    samples = len(y)
    kept = samples - round(held_out * samples)
    if not 0 < kept < samples:
        raise ConfigurationError(
            f"held_out: {held_out!r} is not allowed for {samples} samples; allowed: a share that "
            "leaves some on both sides"
        )
    train, test = _rows(gram, y, slice(0, kept)), _rows(gram, y, slice(kept, samples))
    inner, cross = gram[train][:, train], gram[test][:, train]
    labels = y[kept:].argmax(1)
    scores = {}
    for ridge in sorted(ridges):
        found = ridge_classifier(inner, cross, y[:kept], ridge=ridge)
        scores[ridge] = accuracy(found, labels)
    return max(sorted(ridges, reverse=True), key=lambda ridge: scores[ridge])


def folded_accuracies(
    gram: Float[Tensor, "rows rows"],
    y: Float[Tensor, "m o"],
    ridges: Sequence[float],
    *,
    folds: int,
) -> dict[float, float]:
    """Accuracy of kernel ridge regression over folds of the points, by ridge.

    Points i, i + folds, i + 2 folds, ... judge a fit on all others, for i = 0 .. folds - 1.

    Args:
        gram: K on the training points.
        y: one-hot targets.
        ridges: over the mean of K's diagonal.
        folds: parts of the points, at least 2 and at most as many as there are points.
    """
    labels, fold = y.argmax(1), torch.arange(len(y), device=y.device) % folds
    found = dict.fromkeys(ridges, 0.0)
    for judged in (fold == part for part in range(folds)):
        test, train = _rows(gram, y, judged), _rows(gram, y, ~judged)
        inner, cross = gram[train][:, train], gram[test][:, train]
        for ridge in ridges:
            outputs = ridge_classifier(inner, cross, y[~judged], ridge=ridge)
            found[ridge] += accuracy(outputs, labels[judged]) * int(judged.sum()) / len(y)
    return found


def folded_ridge(
    gram: Float[Tensor, "rows rows"],
    y: Float[Tensor, "m o"],
    ridges: Sequence[float],
    *,
    folds: int,
) -> float:
    """The ridge with the best of `folded_accuracies`, the largest of equal ones."""
    found = folded_accuracies(gram, y, ridges, folds=folds)
    return max(sorted(ridges, reverse=True), key=lambda ridge: round(found[ridge], 9))


def _rows(gram: Tensor, y: Tensor, samples: slice | Tensor) -> Tensor:
    """Indices of some samples, in every output's block."""
    size, (count, outputs) = len(gram), y.shape
    index = torch.arange(count, device=gram.device)[samples]
    if size == count:
        return index
    return (torch.arange(outputs, device=gram.device)[:, None] * count + index).reshape(-1)


def accuracy(outputs: Float[Tensor, "o n"], labels: Tensor) -> float:
    """Share of the points whose largest output is that of their label."""
    return (outputs.argmax(0) == labels).double().mean().item()
