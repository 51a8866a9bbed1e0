"""Share of the squared residual f − y that is left along the leading eigenvectors of the Gram
matrix at the start, against its eigenvalue over n: median over {seeds} networks with their middle
half (bars), at several epochs, and what constant kernels would leave, (1 − 2ηλ/n)²ᵗ (lines:
medians, bands: the middle half). Squared loss, mean over samples, step η =
{training.learning_rate}, width {network.width}.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import (
    INK,
    WIDTH,
    colour_key,
    draw_median,
    line_key,
    spread_colours,
)

TABLES = ("training_residual_modes",)


def draw(tables, cfg):
    """One colour an epoch."""
    table = tables["training_residual_modes"]
    table = table.assign(expected=table["expected"].clip(lower=1e-9))
    steps = sorted(table["step"].unique())
    shown = steps[:: max(1, len(steps) // 5)][1:]
    colours, n = spread_colours(shown), cfg["task"]["train_points"]
    figure, axes = plt.subplots(figsize=(0.8 * WIDTH, 3.6))
    for step, colour in colours.items():
        ranks = table[table["step"] == step].groupby("rank")
        place = ranks["eigenvalue"].median() / n
        low, middle, high = (ranks["left"].quantile(share) for share in (0.25, 0.5, 0.75))
        bars = [middle - low, high - middle]
        axes.errorbar(place, middle, bars, fmt="o", ms=4, color=colour, lw=0.8)
        style = dict(colour=colour, shares=(0.25, 0.75), lw=1)
        draw_median(axes, ranks["expected"], along=ranks["eigenvalue"], unit=1 / n, **style)
    axes.set(xscale="log", yscale="log", xlabel="eigenvalue of Θ/n at the start")
    axes.set(ylabel="share of the residual left", ylim=(1e-5, 3))
    key = [*colour_key("epoch {}", colours), ("constant kernel", {"color": INK})]
    axes.legend(handles=line_key(key))
    return figure
