"""Averages of ψ over the coordinates of a wide vector against the mean of ψ at infinite width: root
mean square of the difference over pairs of images, in standard deviations of ψ, against the width,
both axes logarithmic. Mean over random networks and 95 % intervals, one colour a moment, one panel
an architecture with the same axes. Dashed: width to the power −1/2, for independent coordinates.
"""

from ntkstudy.report.architectures import architecture_panels, label_lowest
from ntkstudy.report.intervals import draw_intervals
from ntkstudy.report.plotting import COLOURS, LIMIT_COLOUR, label_log_axis, line_key

TABLES = ("initialization_coordinate_moments",)
NAMES = {"x": "x", "x^2": "x²", "relu(x) relu(y)": "relu(x) relu(y)", "x^2 y^2": "x² y²"}


def draw(tables, cfg):
    """Small multiples, one an architecture."""
    table = tables["initialization_coordinate_moments"]
    figure, panels = architecture_panels(table, height=2.6)
    colours = dict(zip(NAMES, COLOURS, strict=False))
    for name, axes in panels.items():
        rows = table[table["architecture"] == name]
        for moment, colour in colours.items():
            groups = rows[rows["moment"] == moment].groupby("width")["error"]
            widths, samples = list(groups.groups), [each.to_numpy() for _, each in groups]
            style = dict(marker="o", color=colour, capsize=2, markersize=3)
            draw_intervals(axes, widths, samples, "mean", **style)
        axes.plot(widths, [width**-0.5 for width in widths], "--", color=LIMIT_COLOUR, lw=1.2)
        axes.set(xscale="log", yscale="log")
    every = sorted(table["width"].unique().tolist())
    for axes in panels.values():
        label_log_axis(axes.xaxis, every[::2] if len(every) > 4 else every)
    label_log_axis(next(iter(panels.values())).yaxis)
    label_lowest(panels, "width")
    figure.supylabel("error in standard deviations", fontsize="medium")
    key = [(NAMES[moment], {"color": colour}) for moment, colour in colours.items()]
    figure.legend(handles=line_key(key), loc="outside upper left", ncols=len(key))
    return figure
