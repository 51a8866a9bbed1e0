"""Mean over initialisations of the on-diagonal kernel K = Θ(x, x), ReLU networks with zero biases,
divided by the number d of weight layers, against d. Solid: d‖x‖²/n₀ + (d + 1)/2, dashed: d
(‖x‖²/n₀ + 1/2) as the paper prints it, both over d. Bars: 95 % intervals.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter

from ntkstudy.report.colours import LIMIT_COLOUR
from ntkstudy.report.intervals import draw_intervals
from ntkstudy.report.plotting import WIDTH, spread_colours

TABLES = ("initialization_diagonal_kernel",)


def draw(tables, cfg):
    """Mean kernel per layer, one marker per width, on two formulas."""
    table = tables["initialization_diagonal_kernel"]
    table = table.assign(layers=table["depth"] + 1)
    table = table.assign(share=table["full"] / table["layers"])
    figure, axes = plt.subplots(figsize=(0.62 * WIDTH, 3.2))
    groups, colours = table.groupby("width"), spread_colours(table["width"])
    for index, (width, rows) in enumerate(groups):
        each = {layers: group["share"].to_numpy() for layers, group in rows.groupby("layers")}
        x = np.array(list(each)) * 1.03 ** (index - (len(groups) - 1) / 2)
        style = dict(fmt="os^Dv"[index], color=colours[width], ms=4, capsize=2, lw=1)
        style["label"] = f"width {width}"
        draw_intervals(axes, x, list(each.values()), "mean", **style)
    layers = np.array(sorted(table["layers"].unique()))
    size = 0.5  # |x|^2 / n0 on the unit circle
    axes.plot(layers, size + (layers + 1) / (2 * layers), color=LIMIT_COLOUR, lw=1.8, zorder=0)
    axes.plot(layers, np.full(len(layers), size + 0.5), "--", color=LIMIT_COLOUR, lw=1.4, zorder=0)
    axes.set(xscale="log", xlabel="weight layers d", ylabel="mean of K / d")
    axes.set_xticks(layers, [str(one) for one in layers])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend()
    return figure
