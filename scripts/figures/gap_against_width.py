"""Relative distance ‖f − f∞‖ / ‖f∞‖ on the test images between trained networks and the infinitely
wide one after the same {training.steps} steps, against the width. Points: networks; line: mean.
Dashed: width to the power −1/2.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import QUANTITIES
from ntkstudy.report.plotting import WIDTH, draw_inverse_root, draw_means, scale_width_axes

TABLES = ("trained_limit_gap",)


def draw(tables, cfg):
    """Gap after training."""
    table = tables["trained_limit_gap"]
    table = table[table["step"] == table["step"].max()]
    figure, axes = plt.subplots(figsize=(0.62 * WIDTH, 3.2))
    style = dict(colour=QUANTITIES["to_limit"], label="trained networks")
    draw_means(axes, table, "gap", **style)
    draw_inverse_root(axes, table, "gap")
    scale_width_axes(axes, table["width"], ylabel="distance from infinite width")
    axes.legend()
    return figure
