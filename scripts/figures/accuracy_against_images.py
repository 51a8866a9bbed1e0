"""Test accuracy against the number of training images: the trained network and ridge regression
with its infinitely wide kernel. Points: mean over splits; bars: standard deviation. Cross: the
published accuracy of the NNGP kernel with 1,000 images (Lee et al. 2018).
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import QUANTITIES
from ntkstudy.report.plotting import COLOURS, WIDTH, label_log_axis, published

TABLES = ("machines_kernel_classifiers",)
NAMES = {"network": "network", "limit mean ridge": "limit kernel, ridge"}
SHOWN = {"network": "network", "limit mean ridge": "limit"}


def draw(tables, cfg):
    """One line per way to learn."""
    table = tables["machines_kernel_classifiers"]
    figure, axes = plt.subplots(figsize=(0.62 * WIDTH, 3.2))
    for colour, (fit, rows) in zip(COLOURS, table.groupby("fit", sort=False), strict=False):
        points = rows.groupby("train_points")["test_accuracy"]
        mean, spread = points.mean(), points.std().fillna(0.0)
        label = NAMES.get(fit, fit)
        colour = QUANTITIES[SHOWN[fit]] if fit in SHOWN else colour
        axes.errorbar(
            mean.index, mean, yerr=spread, marker="o", capsize=3, color=colour, label=label
        )
    marks = published(cfg, "nngp_accuracy")
    axes.plot(*marks, "x", color=QUANTITIES["published"], ms=8, mew=2, label="NNGP, published")
    axes.set_xscale("log")
    label_log_axis(axes.xaxis, sorted({*table["train_points"], *marks[0]}))
    axes.set_xlabel("number of training images")
    axes.set_ylabel("test accuracy")
    axes.grid(axis="y", alpha=0.25)
    axes.legend()
    return figure
