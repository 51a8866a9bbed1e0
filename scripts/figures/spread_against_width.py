"""Standard deviation over initialisations of the kernel at the anchor, Θ(x₀, x₀), and opposite to
it, Θ(x₀, −x₀), against the width, both axes logarithmic. Bars: 95 % intervals. Dashed
lines: width to the power −1/2 through the first point.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter

from ntkstudy.data.tables import axes_of
from ntkstudy.report.intervals import draw_intervals
from ntkstudy.report.plotting import COLOURS, WIDTH, anchor_angle, label_decades, with_configured

TABLES = ("initialization_profile",)


def draw(tables, cfg):
    """Spread at the anchor and opposite to it, with the expected slope."""
    table = with_configured(tables["initialization_profile"], cfg, "network.width")
    others = axes_of(table, besides=("width", "seed", "gamma"))
    figure, axes = plt.subplots(figsize=(0.62 * WIDTH, 3.1))
    anchor = anchor_angle(cfg)
    for marker, angle, place in (("o", anchor, "at the anchor"), ("s", anchor + np.pi, "opposite")):
        for values, cell in table.groupby(others, sort=False) if others else [((), table)]:
            cells = [f"{name} {value}" for name, value in zip(others, values, strict=True)]
            colour = COLOURS[len(axes.containers) % len(COLOURS)]
            rows = cell[_nearest(cell["gamma"], angle)]
            _draw_spread(axes, rows, marker, colour, ", ".join([place, *cells]))
    widths = sorted(table["width"].unique())
    axes.set(xscale="log", yscale="log", xlabel="width", ylabel="standard deviation over seeds")
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.xaxis.set_minor_formatter(NullFormatter())
    label_decades(axes.yaxis)
    axes.legend()
    return figure


def _nearest(gamma, angle):
    """Mask of the grid angle nearest to an angle on the circle."""
    distance = np.abs(np.exp(1j * gamma) - np.exp(1j * angle))
    return distance <= distance.min() + 1e-9


def _draw_spread(axes, rows, marker, colour, label):
    samples = [group["theta"].to_numpy() for _, group in rows.groupby("width")]
    widths = np.array(sorted(rows["width"].unique()))
    style = dict(fmt=marker, color=colour, capsize=3, label=label)
    draw_intervals(axes, widths, samples, "std", **style)
    first = samples[0].std(ddof=1)
    axes.plot(widths, first * (widths / widths[0]) ** -0.5, "--", color=colour, lw=1)
