"""Centred networks of width {network.width}, f = α (h − h₀), trained with step
{training.learning_rate} on L = mean (f(x) − y)² / α². Left: loss over its initial value, median
over seeds. Right: steps until it is down to a thousandth. Dots: seeds; line: median. Bands: 10 to
90 % of the seeds.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import QUANTITIES
from ntkstudy.report.plotting import WIDTH, draw_median, draw_spread, spread_colours

TABLES = ("losses", "lazy_summary")


def draw(tables, cfg):
    """Loss curves on the left, times on the right."""
    losses, summary = tables["losses"], tables["lazy_summary"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    for alpha, colour in spread_colours(losses["output_scale"], "strength").items():
        rows = losses[losses["output_scale"] == alpha]
        start = rows.loc[rows["step"] == 0, "loss"].median()
        groups = rows[rows["step"] > 0].assign(share=rows["loss"] / start).groupby("step")["share"]
        draw_median(left, groups, colour=colour, label=f"α = {float(f'{alpha:.3g}'):g}")
    left.set(xscale="log", yscale="log", xlabel="step t", ylabel="L / L₀", ylim=(1e-16, 3))
    left.legend(fontsize=8)
    draw_spread(right, summary, "output_scale", "time", colour=QUANTITIES["steps"])
    right.set(xscale="log", yscale="log", xlabel="output scale α", ylabel="steps to L / L₀ = 0.001")
    return figure
