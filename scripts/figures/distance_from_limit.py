"""Relative distance ‖Θ − Θ∞‖ / ‖Θ∞‖ of the kernel (mean over outputs) from its limit, for one
network (mean over networks) and for the mean over all networks, against the width. The latter is
the square root of an estimate without bias, from products of two networks; where noise makes that
negative, the upper end of its 95 % interval is shown as a triangle. Dashed: width to the power
−1/2.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.claims.uncertainty import interval
from ntkstudy.report.colours import COLOURS, LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.plotting import WIDTH, scale_width_axes

TABLES = ("initialization_limit_distance",)


def draw(tables, cfg):
    """One network, and the mean of all."""
    table = tables["initialization_limit_distance"]
    groups = table.groupby("width")
    widths = np.array(list(groups.groups))
    figure, axes = plt.subplots(figsize=(0.62 * WIDTH, 3.2))
    alone = groups["sample"].mean().to_numpy()
    spread = groups["sample"].std().to_numpy()
    style = dict(marker="o", capsize=3, color=QUANTITIES["network"], label="one network")
    axes.errorbar(widths, alone, yerr=spread, **style)
    squares = groups["mean_square"].mean().to_numpy()
    ends = np.array([interval(rows.to_numpy(), "mean").high for _, rows in groups["mean_square"]])
    seen = squares > 0
    label = "mean over networks"
    axes.plot(widths[seen], np.sqrt(squares[seen]), "s", color=COLOURS[1], label=label)
    hidden = ~seen & (ends > 0)
    bound = "mean over networks, upper end"
    axes.plot(widths[hidden], np.sqrt(ends[hidden]), "v", mfc="none", color=COLOURS[1], label=bound)
    line = alone[0] * np.sqrt(widths[0] / widths)
    axes.plot(widths, line, "--", color=LIMIT_COLOUR, label="width$^{-1/2}$")
    scale_width_axes(axes, widths.tolist(), ylabel="relative distance from the limit")
    figure.legend(loc="outside upper center", ncols=2)
    return figure
