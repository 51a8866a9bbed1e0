"""Centred networks of width {network.width}, f = α (h − h₀), trained for {training.steps} steps of
size {training.learning_rate} on mean (f(x) − y)² / α². Left: relative error ‖f − g‖ / ‖g‖ on the
evaluation grid against the output scale α, g being ridge regression (t = ∞) or the infinite-width
mean at the same time. Right: α ‖θₜ − θ₀‖. Dots: seeds; lines: medians; bands: 10 to 90 % of the
seeds; grey: infinite width.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.plotting import WIDTH, draw_spread, label_log_axis

TABLES = ("function_comparison", "movement_comparison")


def draw(tables, cfg):
    """Errors and movement against alpha."""
    errors, movement = tables["function_comparison"], tables["movement_comparison"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
    for column, label, name in (
        ("to_ridge", "to ridge regression", "to_ridge"),
        ("to_mean", "to infinite width at the same time", "to_limit"),
    ):
        style = dict(colour=QUANTITIES[name], label=label)
        draw_spread(left, errors, "output_scale", column, **style)
    left.axhline(errors["limit_to_ridge"].iloc[0], color=LIMIT_COLOUR, lw=2, zorder=0)
    left.set(ylabel="relative error", ylim=(0, None))
    scaled = movement.assign(
        distance=movement["output_scale"] * movement["distance"],
        lazy=movement["output_scale"] * movement["lazy_distance"],
    )
    draw_spread(right, scaled, "output_scale", "distance", colour=QUANTITIES["movement"])
    right.axhline(scaled["lazy"].iloc[0], color=LIMIT_COLOUR, lw=2, zorder=0)
    right.set(ylabel="α ‖θₜ − θ₀‖", ylim=(0, None))
    for axes in (left, right):
        axes.set(xscale="log", xlabel="output scale α")
        label_log_axis(axes.xaxis, sorted(errors["output_scale"].unique()))
    left.legend(fontsize=8)
    return figure
