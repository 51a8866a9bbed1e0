"""Regression with the limit kernel on n training rows, for ridges over the mean of its diagonal.
Left: squared error, predicted from eigenvalues and coefficients on a pool of M rows (lines) and
measured on the pool, training rows included (dots), and on fresh rows (open diamonds); dashed: the
prediction with a power law behind the leading modes, for fresh rows. Right: share of n that is
learned, predicted (lines: Σ Lᵢ / n) and measured (dots: tr K (K + ridge)⁻¹ / n). Shaded: where
fresh rows (dark) and the pool (both) are judged. Every draw divides all images of the task,
training and test ones, anew into the pool and fresh rows, which are alike then: the first thousand
test images alone are harder than training images. Means over draws, bars: 95 % intervals, mostly
smaller than the marks.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.intervals import draw_intervals
from ntkstudy.report.plotting import (
    COLOURS,
    LIMIT_COLOUR,
    WIDTH,
    colour_key,
    label_log_axis,
    line_key,
)

TABLES = ("limit_learning_curve",)
JUDGED = 0.25, 0.05  # largest n / M on the pool, and on fresh rows
DOT = dict(marker="o", ms=5, ls="", capsize=2)
DIAMOND = dict(marker="D", ms=6, ls="", capsize=2, mfc="none")


def draw(tables, cfg):
    """A line and its points for each ridge."""
    table = tables["limit_learning_curve"].sort_values(["ridge", "n"])
    pool = round((table["n"] / table["share"]).iloc[0])
    figure, (errors, learned) = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    colours = dict(zip(table["ridge"].unique(), COLOURS, strict=False))
    table = table.assign(
        expected=table["predicted_learnability"] / table["n"],
        found=table["learnability"] / table["n"],
    )
    for ridge, rows in table.groupby("ridge"):
        style = {"color": colours[ridge]}
        means = rows.groupby("n").mean(numeric_only=True)
        errors.plot(means.index, means["predicted"], **style)
        errors.plot(means.index, means["predicted_with_tail"], "--", **style)
        learned.plot(means.index, means["expected"], **style)
        _draw_points(errors, rows, "pool", **DOT, **style)
        _draw_points(errors, rows, "fresh", **DIAMOND, **style)
        _draw_points(learned, rows, "found", **DOT, **style)
    errors.set(yscale="log", ylabel="squared error")
    learned.set(ylim=(0, 1.05), ylabel="learned share of n")
    for axes in (errors, learned):
        _finish(axes, sorted(table["n"].unique().tolist()), pool)
    label_log_axis(errors.yaxis)
    learned.legend(handles=line_key(colour_key("ridge {:g}", colours)), loc="lower left")
    _explain(errors)
    return figure


def _draw_points(axes, rows, column, **style):
    sizes, samples = zip(*rows.groupby("n")[column], strict=True)
    draw_intervals(axes, sizes, [sample.to_numpy() for sample in samples], "mean", **style)


def _finish(axes, sizes, pool):
    """Logarithmic sizes, and where they are judged."""
    low, high = sizes[0] / 1.25, sizes[-1] * 1.25
    for share in JUDGED:
        axes.axvspan(low, min(high, share * pool), color=LIMIT_COLOUR, alpha=0.1, lw=0, zorder=0)
    axes.set(xscale="log", xlim=(low, high), xlabel=f"training rows n, M = {pool:,}")
    label_log_axis(axes.xaxis, sizes)
    axes.tick_params(axis="x", labelsize=8)


def _explain(axes):
    styles = [
        ("predicted", {}), ("with fitted tail", {"ls": "--"}),
        ("pool", DOT | {"capsize": None}), ("fresh rows", DIAMOND | {"capsize": None}),
    ]  # fmt: skip
    styles = [(name, {k: v for k, v in style.items() if k != "capsize"}) for name, style in styles]
    handles = line_key([(name, style | {"color": LIMIT_COLOUR}) for name, style in styles])
    axes.legend(handles=handles, loc="lower left")
