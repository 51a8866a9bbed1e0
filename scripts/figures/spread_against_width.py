"""Standard deviation over initialisations of the kernel at the anchor, Θ(x₀, x₀), and opposite to
it, Θ(x₀, −x₀), against the width, both axes logarithmic. Bars: 95 % intervals. Dashed
lines: width to the power −1/2 through the first point.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from ntkflow.plotting import COLOURS, WIDTH
from ntkflow.uncertainty import interval


def draw(tables, cfg):
    """Spread at gamma = 0 and -pi with the expected slope."""
    table = tables["initialization_profile"]
    if "width" not in table:
        table = table.assign(width=cfg["network"]["width"])
    figure, axes = plt.subplots(figsize=(0.62 * WIDTH, 3.1))
    for colour, marker, angle, label in (
        (COLOURS[0], "o", 0.0, "at the anchor, γ = 0"),
        (COLOURS[1], "s", -np.pi, "opposite, γ = −π"),
    ):
        rows = table[np.isclose(table["gamma"], angle)]
        samples = [group["theta"].to_numpy() for _, group in rows.groupby("width")]
        widths = np.array(sorted(rows["width"].unique()))
        spread = np.array([sample.std(ddof=1) for sample in samples])
        bounds = np.array([interval(sample, "std") for sample in samples]).T
        bars = np.abs(bounds - spread)
        axes.errorbar(widths, spread, bars, fmt=marker, color=colour, capsize=3, label=label)
        axes.plot(widths, spread[0] * (widths / widths[0]) ** -0.5, "--", color=colour, lw=1)
    axes.set(xscale="log", yscale="log", xlabel="width", ylabel="standard deviation over seeds")
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend()
    return figure
