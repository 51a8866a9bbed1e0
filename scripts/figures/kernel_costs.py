"""Time and peak memory of the block kernel against the number of images: a Python loop over images
and outputs, the whole Jacobian by vmap over jacrev, and layer by layer. Points: mean over networks.
Dashed: the published 3 GB for 1,000 images, scaled to fewer.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import QUANTITIES
from ntkstudy.report.plotting import WIDTH, label_log_axis, published

TABLES = ("initialization_kernel_cost",)
WAYS = {"loop": "loop", "vmap": "vmap(jacrev)", "layerwise": "layer by layer"}


def draw(tables, cfg):
    """Seconds and bytes."""
    table = tables["initialization_kernel_cost"]
    mean = table.groupby("train_points").mean()
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    for way, label in WAYS.items():
        colour = QUANTITIES[way]
        panels[0].plot(mean.index, mean[f"{way}_seconds"], "o-", color=colour, label=label)
        panels[1].plot(mean.index, mean[f"{way}_bytes"] / 1e6, "o-", color=colour)
    for images, gigabytes in zip(*published(cfg, "gigabytes"), strict=True):
        megabytes = 1000 * gigabytes / images * mean.index
        panels[1].plot(
            mean.index, megabytes, "--", color=QUANTITIES["published"], label="published"
        )
    for axes, label in zip(panels, ("seconds", "peak memory, MB"), strict=True):
        axes.set_xscale("log")
        axes.set_yscale("log")
        label_log_axis(axes.xaxis, list(mean.index))
        label_log_axis(axes.yaxis)
        axes.set_xlabel("number of images")
        axes.set_ylabel(label)
    figure.legend(loc="outside upper center", ncols=4)
    return figure
