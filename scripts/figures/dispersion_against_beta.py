"""Left: dispersion ln(E[K²]/E[K]²) over initialisations of the on-diagonal kernel K = Θ(x, x)
against β = Σ 1/width over the hidden layers; curve: prediction for the weights' part of deep and
wide networks. Right: mean change of K in one step of gradient descent on (f(x) − y)², divided by
E[K], for the target and step size of the protocol. One marker per width; bars: 95 % intervals.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkflow.finite_width import kernel_dispersion
from ntkstudy.report.intervals import draw_intervals
from ntkstudy.report.plotting import COLOURS, INK, LIMIT_COLOUR, WIDTH, label_decades

TABLES = ("initialization_diagonal_kernel",)
MARKERS = ("o", "s", "^", "D", "v")


def draw(tables, cfg):
    """Dispersion and first-step change, side by side."""
    table = tables["initialization_diagonal_kernel"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
    for marker, (width, rows) in zip(MARKERS, table.groupby("width"), strict=False):
        for colour, part in ((COLOURS[0], "weights"), (COLOURS[1], "full")):
            style = dict(color=colour, fmt=marker, label=f"{LABELS[part]}, width {width}")
            plot_intervals(left, rows, part, "dispersion", **style)
        relative = rows["change"] / rows.groupby("depth")["full"].transform("mean")
        rows = rows.assign(relative=relative)
        plot_intervals(
            right, rows, "relative", "mean", color=INK, fmt=marker, label=f"width {width}"
        )
    beta = np.geomspace(table["beta"].min() / 1.3, table["beta"].max() * 1.3)
    # One layer of width 1 / beta has the same beta.
    curve = [kernel_dispersion([1 / value]) for value in beta]
    left.plot(beta, curve, color=LIMIT_COLOUR, lw=1.8, label="predicted (weights)", zorder=0)
    left.set(xscale="log", yscale="log", ylabel="dispersion ln(E[K²]/E[K]²)")
    right.axhline(0, color=LIMIT_COLOUR, lw=1)
    right.set(xscale="log", ylabel="mean change of K in one step / E[K]")
    for axes in (left, right):
        axes.set_xlabel("β = hidden layers / width")
        label_decades(axes.xaxis)
    left.legend(fontsize=8)
    right.legend(fontsize=8)
    return figure


LABELS = {"weights": "weights", "full": "with biases"}


def plot_intervals(axes, rows, column, statistic, **style):
    """Statistic over seeds per value of beta, with its interval."""
    samples = {beta: group[column].to_numpy() for beta, group in rows.groupby("beta")}
    style |= dict(ms=4, capsize=2, lw=1)
    draw_intervals(axes, list(samples), list(samples.values()), statistic, **style)
