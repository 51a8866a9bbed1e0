"""Frobenius norm of the kernel's blocks of different outputs over that of equal outputs, before and
after training, against the width. Points: networks; lines: means. Dashed: width to the power −1/2.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkflow.plotting import COLOURS, LIMIT_COLOUR, WIDTH, label_log_axis


def draw(tables, cfg):
    """Before and after training."""
    table = tables["trained_block_structure"]
    figure, axes = plt.subplots(figsize=(0.62 * WIDTH, 3.2))
    for (step, rows), colour in zip(table.groupby("step"), COLOURS, strict=False):
        mean = rows.groupby("width")["coupling"].mean()
        label = f"after {step} steps" if step else "at initialisation"
        axes.plot(rows["width"], rows["coupling"], "o", ms=3.5, alpha=0.4, color=colour)
        axes.plot(mean.index, mean, color=colour, label=label)
        if not step:
            line = mean.iloc[0] * np.sqrt(mean.index[0] / mean.index)
            axes.plot(mean.index, line, "--", color=LIMIT_COLOUR, label="width⁻¹ᐟ²")
    axes.set_xscale("log")
    axes.set_yscale("log")
    label_log_axis(axes.xaxis, sorted(set(table["width"])))
    label_log_axis(axes.yaxis)
    axes.set_xlabel("width")
    axes.set_ylabel("coupling of different outputs")
    axes.legend()
    return figure
