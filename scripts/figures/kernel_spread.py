"""Kernels of random networks on the training inputs: trace of Θ / M over its mean, one dot a
network (left), and its relative standard deviation against the width (right; bars: 95 % intervals;
grey: slope −1/2).
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.colours import LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.intervals import draw_intervals
from ntkstudy.report.plotting import WIDTH, label_log_axis

TABLES = ("initialization_kernel",)


def draw(tables, cfg):
    """Values on the left, their spread on the right."""
    table = tables["initialization_kernel"]
    shares = table["trace"] / table.groupby("width")["trace"].transform("mean")
    groups = shares.groupby(table["width"])
    spread = groups.std()
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.0))
    colour = QUANTITIES["trace"]
    left.plot(table["width"], shares, ".", color=colour, ms=3)
    left.set(ylabel="trace of the kernel over its mean", ylim=(0, None))
    samples = [sample.to_numpy() for _, sample in groups]
    style = dict(marker="o", color=colour, capsize=3, label="networks")
    draw_intervals(right, spread.index, samples, "std", **style)
    middle = spread.index[len(spread) // 2]
    law = spread[middle] * np.sqrt(middle / spread.index.to_numpy(float))
    right.plot(spread.index, law, color=LIMIT_COLOUR, lw=2, zorder=0, label="slope −1/2")
    right.set(yscale="log", ylabel="relative standard deviation")
    right.legend()
    for axes in (left, right):
        axes.set(xscale="log", xlabel="width")
        label_log_axis(axes.xaxis, list(spread.index))
    label_log_axis(right.yaxis)
    return figure
