"""Networks, kernels of random networks and limit kernels on splits of one pool of images."""

from collections.abc import Iterator
from math import nan
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ntkflow.empirical import empirical_ntk
from ntkflow.limits import limit_kernels
from ntkflow.linalg.spectra import block_matrix
from ntkflow.networks import draw_parameters, ensemble_outputs, member
from ntkflow.randomness import generator
from ntkflow.regression.kernel_machines import accuracy, folded_ridge, ridge_classifier
from ntkflow.training import Schedule, train_ensemble

from ..data.storage import Array
from ..subjects.training import build_objective, build_optimizer
from .setting import Setting, by_seed


class Split(NamedTuple):
    """Images to learn and images that judge, with one-hot targets, and their places in the pool."""

    x: Float[Tensor, "m d"]
    y: Float[Tensor, "m o"]
    test_x: Float[Tensor, "n d"]
    test_y: Float[Tensor, "n o"]
    train: Int[Tensor, " m"]
    test: Int[Tensor, " n"]

    @property
    def labels(self) -> Tensor:
        """Classes of the images that judge."""
        return self.test_y.argmax(1)


def splits_of(options: Any, setting: Setting, dtype: torch.dtype) -> Iterator[Split]:
    """So many splits of the training set as there are draws, by `options.train` and `.test`."""
    size, wanted = len(setting.x), options.train + options.test
    x, y = setting.x.to(dtype), setting.y.to(dtype)
    for seed in range(options.draws):
        order = torch.as_tensor(generator(seed, "split").permutation(size), device=x.device)
        train, test = order[: options.train], order[options.train : wanted]
        yield Split(x[train], y[train], x[test], y[test], train, test)


def trained_accuracy(setting: Setting, split: Split, start: dict[str, Tensor]) -> float:
    """Test accuracy of one network after its training; NaN where it diverges."""
    training = setting.training
    objective, engine = build_objective(training), training["engine"]
    found = train_ensemble(
        setting.network, start, split.x, split.y, objective=objective,
        optimizer=build_optimizer(training), schedule=Schedule(training["steps"]),
        engine="loop" if engine == "auto" else engine,
    ).parameters  # fmt: skip
    scale = dict(output_scale=objective.output_scale, start=start if objective.centred else None)
    outputs = ensemble_outputs(setting.network, found, split.test_x, **scale)[0]
    return accuracy(outputs.T, split.labels) if bool(outputs.isfinite().all()) else float("nan")


def kernel_accuracy(
    gram: Float[Tensor, "rows rows"],
    cross: Float[Tensor, "others rows"],
    split: Split,
    options: Any,
) -> tuple[float, float]:
    """Test accuracy of kernel ridge regression, and its ridge, chosen by folds."""
    ridge = folded_ridge(gram, split.y, options.ridges, folds=options.folds)
    return accuracy(ridge_classifier(gram, cross, split.y, ridge=ridge), split.labels), ridge


def architecture_regression(options: Any, setting: Setting) -> dict[str, Array]:
    """Accuracies of all four by split, differences of three of them, and the ridges."""
    dtype = getattr(torch, setting.training["dtype"])
    limit = limit_kernels(setting.network, setting.x).ntk
    rows = []
    for seed, split in enumerate(splits_of(options, setting, dtype)):
        start = draw_parameters(setting.network, [seed], dtype=dtype, device=split.x.device)
        own = dict(parameters=member(start, 0))
        parts = limit[split.train][:, split.train], limit[split.test][:, split.train]
        row: dict[str, float] = {"network": trained_accuracy(setting, split, start)}
        if seed < options.block_draws:
            random = _empirical(setting, split, outputs="block", **own)
            found = kernel_accuracy(*map(block_matrix, random), split, options)
            random = [each.diagonal(dim1=0, dim2=1).mean(-1) for each in random]
        else:
            random, found = _empirical(setting, split, outputs="mean", **own), (nan, nan)
        row["block"], row["block_ridge"] = found
        row["random"], row["random_ridge"] = kernel_accuracy(*random, split, options)
        row["limit"], row["limit_ridge"] = kernel_accuracy(*parts, split, options)
        row["network_over_random"] = row["network"] - row["random"]
        row["limit_over_network"] = row["limit"] - row["network"]
        row["limit_over_random"] = row["limit"] - row["random"]
        row["block_over_random"] = row["block"] - row["random"]
        rows.append(row)
    return by_seed(rows)


def _empirical(setting: Setting, split: Split, **options: Any) -> list[Tensor]:
    """Kernels of the images to learn, and of those that judge against them."""
    pairs = (split.x,), (split.test_x, split.x)
    return [empirical_ntk(setting.network, *pair, **options).values for pair in pairs]
