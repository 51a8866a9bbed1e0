"""Gradient descent with steps below and above the largest stable one, 1/λₘₐₓ of K/M at the start,
on the loss mean (f(x) − y)²: linearised networks, and centred networks with output scale α =
{training.output_scale}. Left: last loss over the first after {training.steps} steps. Right: share
of steps that raised the loss. Dots: networks; lines: medians, bands from 10 to 90 %; grey: 1/L
(dotted) and 2/L, with L the curvature.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.plotting import WIDTH, draw_spread

TABLES = ("theory_step_sweep",)


def draw(tables, cfg):
    """Falls on the left, rises on the right."""
    table, steps = tables["theory_step_sweep"], cfg["training"]["steps"]
    table = table.assign(
        linear_rises=table["linear_rises"] / steps, network_rises=table["network_rises"] / steps,
        linear_fall=table["linear_fall"].clip(upper=1e30),
    )  # fmt: skip
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    for name, label, colour in (
        ("linear", "linearised", QUANTITIES["linearized"]),
        ("network", "network", QUANTITIES["network"]),
    ):
        draw_spread(left, table, "fraction", f"{name}_fall", colour=colour, label=label)
        draw_spread(right, table, "fraction", f"{name}_rises", colour=colour, label=label)
    left.set(yscale="log", ylabel="last loss / first loss")
    right.set(ylabel="share of steps that raise the loss")
    left.legend()
    for axes in (left, right):
        axes.axvline(0.5, color=LIMIT_COLOUR, ls=":", lw=1.5, zorder=0)
        axes.axvline(1, color=LIMIT_COLOUR, lw=1.5, zorder=0)
        axes.set(xlabel="step over the largest stable one")
    return figure
