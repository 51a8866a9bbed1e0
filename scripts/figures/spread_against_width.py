"""Standard deviation over initialisations of the kernel at the anchor, Θ(x₀, x₀), and opposite to
it, Θ(x₀, −x₀), against the width, both axes logarithmic. Bars: 95 % intervals. Dashed
lines: width to the power −1/2 through the first point.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from ntkstudy.claims.uncertainty import interval
from ntkstudy.report.plotting import COLOURS, WIDTH, anchor_angle, swept_columns

TABLES = ("initialization_profile",)


def draw(tables, cfg):
    """Spread at the anchor and opposite to it, with the expected slope."""
    table = tables["initialization_profile"]
    if "width" not in table:
        table = table.assign(width=cfg["network"]["width"])
    others = [name for name in swept_columns(table) if name != "width"]
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
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend()
    return figure


def _nearest(gamma, angle):
    """Mask of the grid angle nearest to an angle on the circle."""
    distance = np.abs(np.exp(1j * gamma) - np.exp(1j * angle))
    return distance <= distance.min() + 1e-9


def _draw_spread(axes, rows, marker, colour, label):
    samples = [group["theta"].to_numpy() for _, group in rows.groupby("width")]
    widths = np.array(sorted(rows["width"].unique()))
    spread = np.array([sample.std(ddof=1) for sample in samples])
    bounds = np.array([interval(sample, "std") for sample in samples]).T
    axes.errorbar(
        widths, spread, np.abs(bounds - spread), fmt=marker, color=colour, capsize=3, label=label
    )
    axes.plot(widths, spread[0] * (widths / widths[0]) ** -0.5, "--", color=colour, lw=1)
