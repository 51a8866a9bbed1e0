"""Relative distance ‖f − f∞‖ / ‖f∞‖ on the test images between trained networks and the infinitely
wide one after the same {training.steps} steps, against the width. Points: networks; line: mean.
Dashed: width to the power −1/2.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkflow.plotting import COLOURS, LIMIT_COLOUR, WIDTH, label_log_axis


def draw(tables, cfg):
    """Gap after training."""
    table = tables["trained_limit_gap"]
    table = table[table["step"] == table["step"].max()]
    figure, axes = plt.subplots(figsize=(0.62 * WIDTH, 3.2))
    mean = table.groupby("width")["gap"].mean()
    axes.plot(table["width"], table["gap"], "o", ms=3.5, alpha=0.4, color=COLOURS[0])
    axes.plot(mean.index, mean, color=COLOURS[0], label="trained networks")
    line = mean.iloc[0] * np.sqrt(mean.index[0] / mean.index)
    axes.plot(mean.index, line, "--", color=LIMIT_COLOUR, label="width⁻¹ᐟ²")
    axes.set_xscale("log")
    axes.set_yscale("log")
    label_log_axis(axes.xaxis, sorted(set(table["width"])))
    label_log_axis(axes.yaxis)
    axes.set_xlabel("width")
    axes.set_ylabel("distance from infinite width")
    axes.legend()
    return figure
