"""Drift ‖Θ_T − Θ₀‖/‖Θ₀‖ of the kernel at the end of training against the width, both axes
logarithmic: mean over seeds and 95 % intervals, one line per step size η at the same η × steps.
Dashed: width to the power −1. Loss mean (f(x) − y)².
"""

import matplotlib.pyplot as plt

from ntkstudy.report.intervals import draw_intervals
from ntkstudy.report.plotting import COLOURS, LIMIT_COLOUR, WIDTH, label_log_axis

TABLES = ("training_kernel",)


def draw(tables, cfg):
    """Final drift per width, learning rates as lines."""
    table = tables["training_kernel"]
    last = table[table["step"] == table.groupby("learning_rate")["step"].transform("max")]
    rates = last.groupby("learning_rate")
    figure, axes = plt.subplots(figsize=(0.62 * WIDTH, 3.1))
    for colour, marker, (rate, rows) in zip(COLOURS, "os^D", rates, strict=False):
        groups = rows.groupby("width")["drift"]
        mean = groups.mean()
        samples = [sample.to_numpy() for _, sample in groups]
        style = dict(marker=marker, color=colour, capsize=3, label=f"η = {rate:g}")
        draw_intervals(axes, mean.index, samples, "mean", **style)
    widths = mean.index.to_numpy(float)
    axes.plot(widths, mean.max() * (widths / widths[0]) ** -1.0, "--", color=LIMIT_COLOUR, lw=1.2)
    axes.set(xscale="log", yscale="log", xlabel="width", ylabel="drift of the kernel")
    label_log_axis(axes.xaxis, list(mean.index))
    label_log_axis(axes.yaxis)
    axes.legend()
    return figure
