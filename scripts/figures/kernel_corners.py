"""Entries of the block kernel for the first ten training images with ten outputs each, image by
image, before and after {training.steps} steps of training, of the first split. Left and middle: the
same colours; right: colours of its own. Signed logarithmic scale, blue negative.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import SymLogNorm

from ntkstudy.report.plotting import WIDTH

TABLES = ("trained_kernel_corner",)


def draw(tables, cfg):
    """Kernel before training, after, and after on a scale of its own."""
    table = tables["trained_kernel_corner"]
    if "data_seed" in table:
        table = table[table["data_seed"] == table["data_seed"].min()]
    table = table[table["seed"] == table["seed"].min()]
    before, after = (
        rows.pivot(index="row", columns="column", values="entry").to_numpy()
        for _, rows in table.groupby("step")
    )
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, 3.0), sharey=True)
    shown = [
        ("before training", before, np.abs(before).max()),
        ("after, same colours", after, np.abs(before).max()),
        ("after, its own colours", after, np.abs(after).max()),
    ]
    for axes, (title, matrix, largest) in zip(panels, shown, strict=True):
        norm = SymLogNorm(largest / 100, vmin=-largest, vmax=largest)
        image = axes.imshow(matrix, cmap="RdBu_r", norm=norm, interpolation="nearest")
        axes.set_title(title)
        axes.set_xticks(range(0, len(matrix), 20), range(0, len(matrix) // 10, 2))
        axes.set_yticks(range(0, len(matrix), 20), range(0, len(matrix) // 10, 2))
        axes.set_xlabel("image (10 outputs each)")
        ticks = [-largest, 0, largest]
        bar = figure.colorbar(image, ax=axes, location="bottom", ticks=ticks, shrink=0.85)
        bar.ax.set_xticklabels([f"{tick:.3g}" for tick in ticks])
        bar.ax.minorticks_off()
        bar.set_label("kernel entry Θ")
    panels[0].set_ylabel("image (10 outputs each)")
    return figure
