"""Relative standard deviation of the kernel's entries (mean over outputs) over random networks
against the width, both axes logarithmic: mean over pairs of networks and 95 % intervals, one panel
an architecture with the same axes. Dashed: width to the power −1/2 through the widest. Dotted: .3,
above which a width is not yet large.
"""

import numpy as np

from ntkstudy.report.intervals import draw_intervals
from ntkstudy.report.plotting import COLOURS, LIMIT_COLOUR, label_log_axis, panel_row

TABLES = ("initialization_kernel_spread",)
LARGE = 0.3


def draw(tables, cfg):
    """Small multiples, one an architecture."""
    table = tables["initialization_kernel_spread"]
    names = list(dict.fromkeys(table["architecture"]))
    widths = sorted(table["width"].unique().tolist())
    figure, panels = panel_row(len(names), 2.3, sharex=True)
    for axes, name in zip(panels, names, strict=True):
        groups = table[table["architecture"] == name].groupby("width")["spread"]
        mean = groups.mean()
        samples = [sample.to_numpy() for _, sample in groups]
        style = dict(marker="o", color=COLOURS[0], capsize=2, markersize=3)
        draw_intervals(axes, mean.index, samples, "mean", **style)
        line = mean.iloc[-1] * np.sqrt(mean.index[-1] / mean.index.to_numpy(float))
        axes.plot(mean.index, line, "--", color=LIMIT_COLOUR, lw=1.2)
        axes.axhline(LARGE, ls=":", color=LIMIT_COLOUR, lw=1.0)
        axes.set(xscale="log", yscale="log", xlabel="width")
        axes.set_title(name.replace("_", " "), fontsize="small")
        label_log_axis(axes.xaxis, [widths[0], widths[len(widths) // 2], widths[-1]])
    label_log_axis(panels[0].yaxis)
    panels[0].set_ylabel("relative standard deviation")
    return figure
