"""Distance of centred networks f = α (h − h₀) of width {network.width} from their linearisation,
trained with the same step {training.learning_rate} on mean (f(x) − y)² / α²: the largest
‖f − f_lin‖ / ‖y‖ on the training points over {training.steps} steps, f_lin = (1 − (1 − 2ηK/M)ᵗ) y.
Dots: seeds; line: median, band from 10 to 90 %; grey: slope −1.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.colours import LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.plotting import WIDTH, draw_spread

TABLES = ("lazy_summary",)


def draw(tables, cfg):
    """One line through the scales."""
    table = tables["lazy_summary"]
    figure, axes = plt.subplots(figsize=(0.7 * WIDTH, 3.2))
    style = dict(colour=QUANTITIES["to_linearized"], label="networks")
    draw_spread(axes, table, "output_scale", "train_gap", **style)
    scales = np.array(sorted(table["output_scale"].unique()))
    last = table.loc[table["output_scale"] == scales[-1], "train_gap"].median()
    shown = scales[len(scales) // 3 :]
    axes.plot(
        shown, last * scales[-1] / shown, color=LIMIT_COLOUR, lw=2, zorder=0, label="slope −1"
    )
    axes.set(
        xscale="log", yscale="log", xlabel="output scale α", ylabel="largest ‖f − f_lin‖ / ‖y‖"
    )
    axes.legend()
    return figure
