"""Relative error ‖fₙ − f∞‖ / ‖f∞‖ of trained networks on the evaluation grid against their width n,
f∞ being kernel ridge regression (left) or the mean of infinitely wide networks at the same training
time (right). Loss: mean (f(x) − y)². Dots: seeds; line: their median; band: 10 to 90 % of them.
Crosses: error of the average over seeds, freed of the noise of few seeds, where it is above two
standard errors. Grey line: infinite width (left); where networks are centred, width to the power
−1/2 through their last median (right).
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import (
    COLOURS,
    LIMIT_COLOUR,
    WIDTH,
    draw_median,
    label_log_axis,
    with_configured,
)

TABLES = ("function_comparison",)


def draw(tables, cfg):
    """Error against ridge regression and against the limit at the same time."""
    keys = ("training.centred", "training.learning_rate")
    table = with_configured(tables["function_comparison"], cfg, *keys)
    widths = sorted(table["width"].unique())
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    series = table.groupby(["centred", "learning_rate"], sort=False)
    for axes, reference in zip(panels, ("ridge", "mean"), strict=True):
        for index, (key, rows) in enumerate(series):
            _draw_errors(axes, rows, reference, _label(*key), COLOURS[index], "osD^"[index])
        axes.set(xscale="log", yscale="log", xlabel="width n")
    panels[0].set(title="against ridge regression, t = ∞", ylabel="relative error")
    panels[1].set(title="against infinite width at the same time")
    panels[0].axhline(table["limit_to_ridge"].iloc[0], color=LIMIT_COLOUR, lw=2, zorder=0)
    if table["centred"].any():
        last = table[table["centred"] & (table["width"] == widths[-1])]["to_mean"].median()
        line = [last * (width / widths[-1]) ** -0.5 for width in widths]
        panels[1].plot(widths, line, "--", color=LIMIT_COLOUR, zorder=0)
    for axes in panels:
        label_log_axis(axes.yaxis)
        shown = _apart(widths)
        axes.set_xticks(shown, [_short(width) for width in shown])
        axes.minorticks_off()
    if len(series) > 1:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _label(centred, rate):
    return f"{'centred, h − h₀' if centred else 'as they are'}, step {rate:g}"


def _apart(widths):
    """Widths whose labels do not touch."""
    shown = widths[:1]
    for width in widths:
        if width >= 1.6 * shown[-1]:
            shown.append(width)
    return shown


def _short(width):
    """1024 as 1k: the axis has room for few letters."""
    return f"{width / 1000:.2g}k" if width >= 1000 else str(width)


def _draw_errors(axes, rows, reference, label, colour, marker):
    groups = rows.groupby("width")
    errors, average = (
        groups[f"to_{reference}"],
        groups[f"average_to_{reference}"].agg(["mean", "sem"]),
    )
    axes.plot(rows["width"], rows[f"to_{reference}"], ".", color=colour, ms=3, alpha=0.5)
    draw_median(axes, errors, colour=colour, marker=marker, ms=4, label=label)
    average = average.loc[average["mean"] > 2 * average["sem"], "mean"]
    axes.plot(average.index, average, "x", color=colour, ms=5)
