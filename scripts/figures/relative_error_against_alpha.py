"""Centred networks of width {network.width}, f = α (h − h₀), trained for {training.steps} steps of
size {training.learning_rate} on mean (f(x) − y)² / α². Left: relative error ‖f − g‖ / ‖g‖ on the
evaluation grid against the output scale α, g being ridge regression (t = ∞) or the infinite-width
mean at the same time. Right: α ‖θₜ − θ₀‖. Dots: seeds; lines: medians; bands: 10 to 90 % of the
seeds; grey: infinite width.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import COLOURS, LIMIT_COLOUR, WIDTH, label_log_axis

TABLES = ("function_comparison", "movement_comparison")


def draw(tables, cfg):
    """Errors and movement against alpha."""
    errors, movement = tables["function_comparison"], tables["movement_comparison"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
    for column, label, colour in (
        ("to_ridge", "to ridge regression", COLOURS[0]),
        ("to_mean", "to infinite width at the same time", COLOURS[1]),
    ):
        _draw(left, errors, column, label, colour)
    left.axhline(errors["limit_to_ridge"].iloc[0], color=LIMIT_COLOUR, lw=2, zorder=0)
    left.set(ylabel="relative error", ylim=(0, None))
    scaled = movement.assign(
        distance=movement["output_scale"] * movement["distance"],
        lazy=movement["output_scale"] * movement["lazy_distance"],
    )
    _draw(right, scaled, "distance", "", COLOURS[2])
    right.axhline(scaled["lazy"].iloc[0], color=LIMIT_COLOUR, lw=2, zorder=0)
    right.set(ylabel="α ‖θₜ − θ₀‖", ylim=(0, None))
    for axes in (left, right):
        axes.set(xscale="log", xlabel="output scale α")
        label_log_axis(axes.xaxis, sorted(errors["output_scale"].unique()))
    left.legend(fontsize=8)
    return figure


def _draw(axes, table, column, label, colour):
    groups = table.groupby("output_scale")[column]
    median = groups.median()
    axes.plot(table["output_scale"], table[column], ".", color=colour, ms=3, alpha=0.5)
    axes.fill_between(
        median.index, groups.quantile(0.1), groups.quantile(0.9), color=colour, alpha=0.2, lw=0
    )
    axes.plot(median.index, median, "o-", color=colour, ms=4, label=label)
