"""Weights between the two hidden layers during training (upper left corner of the matrix) for three
widths, each in units of 1/√m. Loss mean (f(x) − y)² of two points, step {training.learning_rate}.
Numbers: norm of the change over the initial norm, of the part shown.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.plotting import WIDTH

TABLES = ("training_weight_matrix",)


def draw(tables, cfg):
    """Figure, a function that shows a step, and the number of steps."""
    table = tables["training_weight_matrix"]
    table = table[table["seed"] == 0]
    widths, steps = sorted(table["width"].unique()), sorted(table["step"].unique())
    figure, panels = plt.subplots(1, len(widths), figsize=(WIDTH, 2.9), squeeze=False)
    matrices, images = {}, {}
    for axes, width in zip(panels[0], widths, strict=True):
        rows = table[table["width"] == width]
        # A narrow network's matrix is smaller than the corner of wider ones.
        size = min(int(rows["row"].max()) + 1, width)
        values = rows.sort_values(["step", "row", "column"])["weight"].to_numpy()
        matrices[width] = np.sqrt(width) * values.reshape(len(steps), size, -1)
        images[width] = axes.imshow(matrices[width][0], cmap="RdBu_r", vmin=-1.5, vmax=1.5)
        axes.set(xlabel="from neuron", xticks=[], yticks=[])
    panels[0][0].set_ylabel("to neuron")
    figure.colorbar(images[widths[-1]], ax=panels[0].tolist(), label="weight × √m", shrink=0.8)
    clock = figure.suptitle("")

    def show(index: int) -> None:
        for axes, width in zip(panels[0], widths, strict=True):
            now, first = matrices[width][index], matrices[width][0]
            images[width].set_data(now)
            change = np.linalg.norm(now - first) / np.linalg.norm(first)
            axes.set_title(f"width {width}: {change:.2g}")
        clock.set_text(f"after {steps[index]} steps")

    return figure, show, len(steps)
