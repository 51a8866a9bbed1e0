"""Test accuracy against the number n of training images: networks that stop early, and regression
with their limit kernel, each with what it chose on the same held-out part of the n images and then
trained on all of them. Right: the networks' accuracy minus the kernel's, draw by draw: above 0 the
network is better. Small dots: draws of images and network; larger marks and bars: mean and
Student's 95 % interval over draws. All draws are judged by the same test images, whose choice is
not in the bars.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.claims.uncertainty import interval
from ntkstudy.report.colours import INK, LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.plotting import WIDTH, label_log_axis

TABLES = ("theory_network_against_kernel",)
LEARNERS = {
    "network": ("network, early stopped", {"marker": "o", "color": QUANTITIES["network"]}),
    "kernel": (
        "limit kernel, ridge",
        {"marker": "s", "color": QUANTITIES["limit"], "ls": "--"},
    ),
}


def draw(tables, cfg):
    """Accuracies and, beside them, their paired difference."""
    table = tables["theory_network_against_kernel"]
    figure, (accuracies, differences) = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
    for column, (label, style) in LEARNERS.items():
        _draw_means(accuracies, table, column, label=label, **style)
    accuracies.set_ylabel("test accuracy (%)")
    accuracies.legend(loc="lower right")
    _draw_means(differences, table, "difference", marker="D", color=INK)
    differences.axhline(0, color=LIMIT_COLOUR, lw=1)
    differences.set_ylabel("network minus kernel (points)")
    for axes in (accuracies, differences):
        axes.set(xscale="log", xlabel="number n of training images")
        label_log_axis(axes.xaxis, sorted(table["n"].unique().tolist()))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(axis="y", alpha=0.25)
    return figure


def _draw_means(axes, table, column, **style):
    """In per cent: draws as dots beside their mean and its interval."""
    sizes, samples = zip(*table.dropna(subset=[column]).groupby("n")[column], strict=True)
    samples = [100 * sample.to_numpy() for sample in samples]
    means = np.array([sample.mean() for sample in samples])
    ends = np.array([interval(sample, "mean").ends for sample in samples])
    axes.errorbar(sizes, means, np.abs(ends.T - means), capsize=3, ms=5, **style)
    for n, sample in zip(sizes, samples, strict=True):
        dots = dict(ls="", marker=".", ms=4, alpha=0.5, color=style["color"])
        axes.plot([1.06 * n] * len(sample), sample, **dots)
