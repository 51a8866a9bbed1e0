"""Kernels of untrained networks against the accuracy of trained ones, over a grid of networks."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy import stats

from ntkflow.empirical import empirical_ntk
from ntkflow.linalg.spectra import alignment, effective_rank, eigenvalues
from ntkflow.networks import draw_parameters, member
from ntkflow.regression.kernel_machines import folded_accuracies

from ..data.storage import Array
from ..subjects.networks import build_network
from .architecture_regression import Split, splits_of, trained_accuracy
from .setting import Setting

SCORES = ("ridge", "alignment", "lambda_max", "trace", "effective_rank", "condition")


def pick_architecture(options: Any, setting: Setting) -> dict[str, Array]:
    """Scores, accuracies and their rank correlations by split, score and network."""
    dtype = getattr(torch, setting.training["dtype"])
    sizes = setting.x.shape[1], setting.y.shape[1]
    settings = [
        replace(setting, network=build_network(options.block(each), *sizes))
        for each in options.grid
    ]
    found = [
        [_measured(options, each, split, seed, dtype) for each in settings]
        for seed, split in enumerate(splits_of(options, setting, dtype))
    ]
    accuracies = np.array([[right for _, right in row] for row in found])
    values = np.array([[scores for scores, _ in row] for row in found]).transpose(0, 2, 1)
    names = [" ".join(map(_word, each.values())) for each in options.grid]
    return _arrays(options, values, accuracies, names)


def _word(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _measured(
    options: Any, setting: Setting, split: Split, seed: int, dtype: torch.dtype
) -> tuple[list[float], float]:
    """Scores of the kernel before training, in the order of `SCORES`, and accuracy after it."""
    start = draw_parameters(setting.network, [seed], dtype=dtype, device=split.x.device)
    kernel = empirical_ntk(setting.network, split.x, parameters=member(start, 0), outputs="mean")
    gram = kernel.values.double()
    spectrum = eigenvalues(gram)
    scores = [
        max(folded_accuracies(gram, split.y, options.ridges, folds=options.folds).values()),
        alignment(gram, split.y.double(), centred=True),
        spectrum[0] / len(gram),
        float(gram.diagonal().mean()),
        effective_rank(spectrum),
        # What lies within rounding of zero counts as that.
        spectrum[0] / max(spectrum[-1], 1e-7 * spectrum[0]),
    ]
    return scores, trained_accuracy(setting, split, start)


def _arrays(
    options: Any, values: np.ndarray, accuracies: np.ndarray, names: list[str]
) -> dict[str, Array]:
    """Tables from scores (S, K, N) and accuracies (S, N)."""
    draws, kinds, count = values.shape
    every = np.ones(count, dtype=bool)
    raw = _correlations(values, accuracies, np.tile(every, (draws, 1)))
    first = raw[: options.choosing].mean(0)
    sign = np.where(first < 0, -1.0, 1.0)
    size = np.nan_to_num(np.abs(first), nan=-1.0)
    chosen = (np.arange(kinds) == size.argmax()) & np.isfinite(first)  # none where none is known
    good = accuracies > options.good
    null = _correlations(
        values, np.roll(accuracies, count // 2, axis=1)[:, ::-1], np.ones_like(good)
    )
    of_scores, of_networks = ["seed", "score"], ["seed", "candidate"]
    return {
        "seed": Array(np.arange(draws), ["seed"]),
        "score": Array(np.array(SCORES, dtype="S"), ["score"]),
        "candidate": Array(np.array(names, dtype="S"), ["candidate"]),
        "value": Array(values, [*of_scores, "candidate"]),
        "accuracy": Array(accuracies, of_networks, "share of the test images"),
        "correlation": Array(raw * sign, of_scores, "Spearman's, sign of the choosing splits"),
        "among_good": Array(_correlations(values, accuracies, good) * sign, of_scores),
        "good": Array(good.sum(1).astype(float), ["seed"], "networks above the bound"),
        "null": Array(null * sign, of_scores),
        "chosen": Array(chosen.astype(int), ["score"]),
        "judging": Array((np.arange(draws) >= options.choosing).astype(int), ["seed"]),
    }


def _correlations(values: np.ndarray, accuracies: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation (S, K) over the networks kept in every split; NaN for under 5."""
    found = np.full(values.shape[:2], np.nan)
    for split, mask in enumerate(kept.astype(bool)):
        sound = mask & np.isfinite(accuracies[split])
        for place, scores in enumerate(values[split]):
            used = sound & np.isfinite(scores)
            constant = len(set(scores[used])) < 2 or len(set(accuracies[split][used])) < 2
            if used.sum() >= 5 and not constant:
                found[split, place] = stats.spearmanr(scores[used], accuracies[split][used])[0]
    return found
