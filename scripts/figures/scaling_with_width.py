"""Centred networks with one hidden layer after {training.steps} steps of size
{training.learning_rate} on the loss mean (f(x) − y)²: relative movement of the weights, relative
change of the kernel, and largest distance |f − f_lin| from the linearised network on the circle
over the training, against the width. Dots: seeds; lines: medians; numbers: slopes of the mean
with 95 % intervals; grey: slope −1/2.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.intervals import tell_slope
from ntkstudy.report.plotting import (
    COLOURS,
    LIMIT_COLOUR,
    WIDTH,
    draw_spread,
    label_log_axis,
)

TABLES = ("trained_movement", "trained_kernel", "lazy_summary")


def draw(tables, cfg):
    """A panel for each quantity, a colour for each activation."""
    movement, kernel = tables["trained_movement"], tables["trained_kernel"]
    panels = (
        ("‖θ_T − θ₀‖ / ‖θ₀‖", movement[movement["step"] > 0], "relative"),
        ("‖Θ_T − Θ₀‖ / ‖Θ₀‖", kernel[kernel["step"] > 0], "drift"),
        ("largest |f − f_lin|", tables["lazy_summary"], "probe_gap"),
    )
    figure, places = plt.subplots(1, 3, figsize=(WIDTH, 3.4))
    for axes, (title, table, column) in zip(places, panels, strict=True):
        for (activation, rows), colour in zip(table.groupby("activation"), COLOURS, strict=False):
            label = f"{activation}: {tell_slope(rows, 'width', column)}"
            draw_spread(axes, rows, "width", column, colour=colour, label=label)
        widths = np.array(sorted(table["width"].unique()))
        law = table[column].max() * np.sqrt(widths[0] / widths)
        axes.plot(widths, law, color=LIMIT_COLOUR, lw=2, zorder=0)
        axes.set(xscale="log", yscale="log", xlabel="width", title=title)
        label_log_axis(axes.xaxis, list(widths[::2]))
        label_log_axis(axes.yaxis)
        axes.tick_params(labelsize=8)
        axes.legend(fontsize=8)
    return figure
