"""Decay rate of the two modes of the residual over −log(1 − 2ηλ) of the initial kernel, against
the output scale α, of centred networks f = α (h − h₀) trained with step {training.learning_rate}
on mean (f(x) − y)² / α². Dots: seeds; lines: medians. At small α the kernel grows and the rates
with it.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import COLOURS, LIMIT_COLOUR, WIDTH, draw_spread

TABLES = ("rates_summary",)


def draw(tables, cfg):
    """One line a mode."""
    table = tables["rates_summary"]
    figure, axes = plt.subplots(figsize=(0.7 * WIDTH, 3.2))
    for (mode, rows), colour in zip(table.groupby("mode"), COLOURS, strict=False):
        label = f"{'short' if mode == 0 else 'long'} axis, λ{'₁' if mode == 0 else '₂'}"
        rows = rows[rows["ratio"] > 0]
        draw_spread(axes, rows, "output_scale", "ratio", colour=colour, label=label)
    axes.axhline(1, color=LIMIT_COLOUR, lw=2, zorder=0)
    axes.set(
        xscale="log", yscale="log", xlabel="output scale α", ylabel="measured rate / predicted"
    )
    axes.legend()
    return figure
