"""Relative change ‖θ_T − θ₀‖ / ‖θ₀‖ of all weights after {training.steps} steps of size
{training.learning_rate} on the loss mean (f(x) − y)² against the width. Dots: seeds; line: median,
band from 10 to 90 %; grey: slope −1. Crosses: values of the source.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.colours import LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.plotting import (
    WIDTH,
    draw_spread,
    label_log_axis,
    published,
)

TABLES = ("trained_movement",)


def draw(tables, cfg):
    """One line through the widths."""
    table = tables["trained_movement"]
    table = table[table["step"] > 0]
    figure, axes = plt.subplots(figsize=(0.7 * WIDTH, 3.2))
    style = dict(colour=QUANTITIES["movement"], label="measured")
    draw_spread(axes, table, "width", "relative", **style)
    widths = np.array(sorted(table["width"].unique()))
    start = table.loc[table["width"] == widths[-1], "relative"].median()
    axes.plot(
        widths, start * widths[-1] / widths, color=LIMIT_COLOUR, lw=2, zorder=0, label="slope −1"
    )
    marks = published(cfg, "movement")
    axes.plot(*marks, "x", color=QUANTITIES["published"], ms=8, mew=2, label="published")
    axes.set(xscale="log", yscale="log", xlabel="width", ylabel="‖θ_T − θ₀‖ / ‖θ₀‖")
    label_log_axis(axes.xaxis, list(widths))
    label_log_axis(axes.yaxis)
    axes.legend()
    return figure
