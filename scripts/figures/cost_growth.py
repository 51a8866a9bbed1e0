"""Processor time of the kernel of N inputs of a network with {network.depth} hidden layers of
width {network.width}. Dots: repetitions; line: median, band from 10 to 90 %; grey: slope
2.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.plotting import WIDTH, draw_spread, label_log_axis

TABLES = ("theory_cost_growth",)


def draw(tables, cfg):
    """One line through the sizes."""
    table = tables["theory_cost_growth"]
    figure, axes = plt.subplots(figsize=(0.6 * WIDTH, 3.0))
    style = dict(colour=QUANTITIES["layerwise"], label="measured")
    draw_spread(axes, table, "points", "seconds", **style)
    median = table.groupby("points")["seconds"].median()
    law = median.iloc[-1] * (median.index.to_numpy() / median.index[-1]) ** 2
    axes.plot(median.index, law, color=LIMIT_COLOUR, lw=2, zorder=0, label="slope 2")
    axes.set(xscale="log", yscale="log", xlabel="number of inputs N", ylabel="processor seconds")
    label_log_axis(axes.xaxis, list(median.index))
    axes.legend()
    return figure
