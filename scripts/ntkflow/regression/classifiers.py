"""Kernel machines as classifiers of training and test points: fits of several starts, and scores.

A block kernel that couples outputs is a matrix (O M, O M) here, in the order of
`ntkflow.block_matrix`; one that outputs share is (M, M).
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..checks import check_labels, check_shape
from .kernel_machines import accuracy, choose_ridge, evaluate, fit_cross_entropy, ridge_classifier


class KernelPair(NamedTuple):
    """Kernel matrices (rows, rows) on M training points, and of N test points against them.

    Examples:
        >>> x, new = torch.randn(6, 3), torch.randn(2, 3)
        >>> kernels = ntkflow.KernelPair(x @ x.T, new @ x.T)
        >>> kernels.gram.shape, kernels.cross.shape
        (torch.Size([6, 6]), torch.Size([2, 6]))
    """

    gram: Tensor
    cross: Tensor


class ClassifierFit(NamedTuple):
    """Outputs of S fits of one machine, and what is known of them.

    Attributes:
        train: outputs on the training points, (S, O, M).
        test: outputs on the test points, (S, O, N).
        updates: steps of Adam; NaN for others.
        ridge: over the mean of the kernel's diagonal; NaN for others.

    Examples:
        >>> eye = torch.eye(4)
        >>> kernels = ntkflow.KernelPair(eye, eye[:1])
        >>> fit = ntkflow.held_out_ridge_classifier(kernels, eye, [0.1, 1.0], held_out=0.5)
        >>> fit.train.shape, fit.test.shape
        (torch.Size([1, 4, 4]), torch.Size([1, 4, 1]))
    """

    train: Tensor
    test: Tensor
    updates: float = math.nan
    ridge: float = math.nan


class ClassifierScores(NamedTuple):
    """Shares of the points, means over several fits.

    Attributes:
        train_accuracy: training points whose largest output is that of their label.
        test_accuracy: the same of the test points.
        disagreement: test points where fit and reference name other classes.

    Examples:
        >>> eye = torch.eye(2)
        >>> fit = ntkflow.ClassifierFit(eye[None], eye[None])
        >>> scores = ntkflow.classifier_scores(fit, torch.arange(2), torch.zeros(2).long(), eye)
        >>> scores.train_accuracy, scores.test_accuracy
        (1.0, 0.5)
    """

    train_accuracy: float
    test_accuracy: float
    disagreement: float


def cross_entropy_classifiers(
    kernels: KernelPair,
    y: Float[Tensor, "m o"],
    starts: Mapping[str, Float[Tensor, "_ o m"]],
    *,
    learning_rate: float,
    steps: int,
    tolerance: float = 0.0,
) -> dict[str, ClassifierFit]:
    """Kernel machines trained by Adam on the softmax cross-entropy, all starts together.

    f(x) = sum_i K(x, x_i) c_i; the loss and its gradient are those of
    `ntkflow.regression.kernel_machines.fit_cross_entropy`.

    Args:
        kernels: on training and test points.
        y: one-hot targets.
        starts: name to coefficients c at the start, each (S, O, M): zeros for the machine that
            starts at f = 0, normal draws for random ones.
        learning_rate: of Adam, > 0.
        steps: most updates.
        tolerance: stop when all losses are below it.

    Returns:
        The fit of every name.

    Examples:
        >>> eye = torch.eye(2)
        >>> fits = ntkflow.cross_entropy_classifiers(
        ...     ntkflow.KernelPair(eye, eye[:1]), eye, {"zero": torch.zeros(1, 2, 2)},
        ...     learning_rate=0.1, steps=1,
        ... )
        >>> fits["zero"].test
        tensor([[[ 0.1000],
                 [-0.1000]]])
    """
    options = {"learning_rate": learning_rate, "steps": steps, "tolerance": tolerance}
    fit = fit_cross_entropy(kernels.gram, y, torch.cat(list(starts.values())), **options)
    parts = fit.coefficients.split([len(start) for start in starts.values()])
    return {
        name: ClassifierFit(*(_outputs(k, part) for k in kernels), updates=float(fit.updates))
        for name, part in zip(starts, parts, strict=True)
    }


def _outputs(
    kernel: Float[Tensor, "rows columns"], coefficients: Float[Tensor, "s o m"]
) -> Float[Tensor, "s o n"]:
    """Start by start: the numbers of one do not depend on how many there are."""
    return torch.stack([evaluate(kernel, one) for one in coefficients])


def held_out_ridge_classifier(
    kernels: KernelPair, y: Float[Tensor, "m o"], ridges: Sequence[float], *, held_out: float
) -> ClassifierFit:
    """Kernel ridge regression on one-hot targets with the ridge that held-out points prefer.

    f = K_x (K + r k I)^-1 y in float64, k the mean of K's diagonal, r the candidate with the best
    accuracy on the last training points after a fit on the others; the largest of equal ones.

    Args:
        kernels: on training and test points.
        y: one-hot targets.
        ridges: candidates r.
        held_out: share of the training points that judge.

    Returns:
        One fit (S = 1) on all training points, with its ridge.

    Raises:
        ConfigurationError: if a share of that size leaves no point on one side.
        KernelError: if K + r k I is not positive definite to working precision.

    Examples:
        >>> eye = torch.eye(4)
        >>> kernels = ntkflow.KernelPair(eye, eye[:1])
        >>> fit = ntkflow.held_out_ridge_classifier(kernels, eye, [0.1, 1.0], held_out=0.5)
        >>> fit.ridge, round(fit.test[0, 0].item(), 6)
        (1.0, 0.5)
    """
    ridge = choose_ridge(kernels.gram, y, ridges, held_out=held_out)
    outputs = y.shape[1]
    rows = torch.cat(kernels)
    if len(kernels.gram) > len(y):  # block kernels: outputs first
        rows = torch.cat([k.unflatten(0, (outputs, -1)) for k in kernels], 1).flatten(0, 1)
    found = ridge_classifier(kernels.gram, rows, y, ridge=ridge)[None]
    return ClassifierFit(found[..., : len(y)], found[..., len(y) :], ridge=ridge)


def classifier_scores(
    fit: ClassifierFit,
    labels: Int[Tensor, " m"],
    test_labels: Int[Tensor, " n"],
    reference: Float[Tensor, "o n"],
) -> ClassifierScores:
    """Accuracies of fits on training and test points, and how often they contradict a reference.

    Args:
        fit: outputs of the fits.
        labels: classes of the training points.
        test_labels: classes of the test points.
        reference: outputs on the test points of what the fits are compared with.

    Raises:
        KernelError: if a shape does not fit the outputs.

    Examples:
        >>> fit = ntkflow.ClassifierFit(torch.eye(2)[None], torch.eye(2)[None])
        >>> ntkflow.classifier_scores(fit, torch.arange(2), torch.zeros(2).long(), torch.eye(2))
        ClassifierScores(train_accuracy=1.0, test_accuracy=0.5, disagreement=0.0)
    """
    check_labels("labels", labels, *fit.train.shape[:0:-1])
    check_labels("test_labels", test_labels, *fit.test.shape[:0:-1])
    check_shape("reference", reference, *fit.test.shape[1:])
    named = reference.argmax(0)
    scores = (
        [accuracy(one, labels) for one in fit.train],
        [accuracy(one, test_labels) for one in fit.test],
        [(one.argmax(0) != named).double().mean().item() for one in fit.test],
    )
    return ClassifierScores(*(float(np.mean(values)) for values in scores))
