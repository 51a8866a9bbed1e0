"""Excess kurtosis E f⁴ / (E f²)² − 3 of the outputs of random networks at the training inputs
against the width, 0 for a Gaussian process. Bars: 95 % intervals from a jackknife over groups of
networks.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import COLOURS, LIMIT_COLOUR, WIDTH, label_log_axis

TABLES = ("theory_output_kurtosis",)


def draw(tables, cfg):
    """One line an input."""
    table = tables["theory_output_kurtosis"]
    figure, axes = plt.subplots(figsize=(0.7 * WIDTH, 3.0))
    for shift, (place, rows) in enumerate(table.groupby("input")):
        groups = rows.groupby("width")["kurtosis"]
        mean = groups.mean()
        axes.errorbar(
            mean.index * 1.06**shift, mean, 2.1 * groups.sem(), fmt="o-", capsize=3,
            color=COLOURS[shift], label=f"x = {place:g}",
        )  # fmt: skip
    axes.axhline(0, color=LIMIT_COLOUR, lw=2, zorder=0)
    axes.set(xscale="log", xlabel="width", ylabel="excess kurtosis")
    label_log_axis(axes.xaxis, sorted(table["width"].unique()))
    axes.legend()
    return figure
