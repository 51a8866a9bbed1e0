"""Peak memory of the empirical kernel of {task.train_points} inputs against the width, with
{network.depth} hidden layers: a Python loop whose gradients are kept, the whole Jacobian by vmap
over jacrev, and layer by layer. Points: mean over networks. Grey: the square of the width.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.plotting import WIDTH, label_log_axis

TABLES = ("initialization_kernel_cost",)
WAYS = {"loop": "loop", "vmap": "vmap(jacrev)", "layerwise": "layer by layer"}


def draw(tables, cfg):
    """Bytes of each way."""
    mean = tables["initialization_kernel_cost"].groupby("width").mean()
    figure, axes = plt.subplots(figsize=(0.8 * WIDTH, 3.4))
    for way, label in WAYS.items():
        colour = QUANTITIES[way]
        axes.loglog(mean.index, mean[f"{way}_bytes"] / 1e6, "o-", color=colour, label=label)
    widths = mean.index.to_numpy(float)
    law = mean["vmap_bytes"].iloc[-1] / 1e6 * (widths / widths[-1]) ** 2
    axes.plot(widths, law, "--", color=LIMIT_COLOUR, label="width²")
    label_log_axis(axes.xaxis, list(mean.index))
    label_log_axis(axes.yaxis)
    axes.set_xlabel("width")
    axes.set_ylabel("peak memory, MB")
    figure.legend(loc="outside upper center", ncols=4)
    return figure
