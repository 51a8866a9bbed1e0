"""Frobenius norm of the kernel's blocks of different outputs over that of equal outputs, before and
after training, against the width. Points: networks; lines: means. Dashed: width to the power −1/2.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import QUANTITIES
from ntkstudy.report.plotting import WIDTH, draw_inverse_root, draw_means, scale_width_axes

TABLES = ("trained_block_structure",)


def draw(tables, cfg):
    """Before and after training."""
    table = tables["trained_block_structure"]
    figure, axes = plt.subplots(figsize=(0.62 * WIDTH, 3.2))
    for step, rows in table.groupby("step"):
        label = f"after {step} steps" if step else "at initialisation"
        colour = QUANTITIES["trained" if step else "start"]
        draw_means(axes, rows, "coupling", colour=colour, label=label)
        if not step:
            draw_inverse_root(axes, rows, "coupling")
    scale_width_axes(axes, table["width"], ylabel="coupling of different outputs")
    axes.legend()
    return figure
