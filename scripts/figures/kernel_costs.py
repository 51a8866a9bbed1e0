"""Time and peak memory of the block kernel against the number of images: a Python loop over images
and outputs, the whole Jacobian by vmap over jacrev, and layer by layer. Dots: networks; lines:
medians, bands from 10 to 90 %. Dashed: the published 3 GB for 1,000 images, scaled to fewer.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import QUANTITIES
from ntkstudy.report.plotting import WIDTH, draw_spread, label_log_axis, published

TABLES = ("initialization_kernel_cost",)
WAYS = {"loop": "loop", "vmap": "vmap(jacrev)", "layerwise": "layer by layer"}


def draw(tables, cfg):
    """Seconds and bytes."""
    table = tables["initialization_kernel_cost"]
    table = table.assign(**{f"{way}_mb": table[f"{way}_bytes"] / 1e6 for way in WAYS})
    images = sorted(table["train_points"].unique())
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    for way, label in WAYS.items():
        style = dict(colour=QUANTITIES[way])
        draw_spread(panels[0], table, "train_points", f"{way}_seconds", **style, label=label)
        draw_spread(panels[1], table, "train_points", f"{way}_mb", **style)
    for all_images, gigabytes in zip(*published(cfg, "gigabytes"), strict=True):
        megabytes = [1000 * gigabytes / all_images * each for each in images]
        panels[1].plot(images, megabytes, "--", color=QUANTITIES["published"], label="published")
    for axes, label in zip(panels, ("seconds", "peak memory, MB"), strict=True):
        axes.set_xscale("log")
        axes.set_yscale("log")
        label_log_axis(axes.xaxis, images)
        label_log_axis(axes.yaxis)
        axes.set_xlabel("number of images")
        axes.set_ylabel(label)
    figure.legend(loc="outside upper center", ncols=4)
    return figure
