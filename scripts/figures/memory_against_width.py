"""Peak memory of the empirical kernel of {task.train_points} inputs against the width, with
{network.depth} hidden layers: a Python loop whose gradients are kept, the whole Jacobian by vmap
over jacrev, and layer by layer. Dots: networks; lines: medians, bands from 10 to 90 %. Grey: the
square of the width.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.colours import LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.plotting import WIDTH, draw_spread, label_log_axis

TABLES = ("initialization_kernel_cost",)
WAYS = {"loop": "loop", "vmap": "vmap(jacrev)", "layerwise": "layer by layer"}


def draw(tables, cfg):
    """Bytes of each way."""
    table = tables["initialization_kernel_cost"]
    table = table.assign(**{way: table[f"{way}_bytes"] / 1e6 for way in WAYS})
    figure, axes = plt.subplots(figsize=(0.8 * WIDTH, 3.4))
    for way, label in WAYS.items():
        draw_spread(axes, table, "width", way, colour=QUANTITIES[way], label=label)
    widths = np.array(sorted(table["width"].unique()), dtype=float)
    last = table.loc[table["width"] == widths[-1], "vmap"].median()
    law = last * (widths / widths[-1]) ** 2
    axes.plot(widths, law, "--", color=LIMIT_COLOUR, label="width²")
    axes.set(xscale="log", yscale="log", xlabel="width", ylabel="peak memory, MB")
    label_log_axis(axes.xaxis, widths.tolist())
    label_log_axis(axes.yaxis)
    figure.legend(loc="outside upper center", ncols=4)
    return figure
