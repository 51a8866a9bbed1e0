"""Regression with the limit kernel: share of held-out training images that is misread, of every
depth, size of biases and ridge (over the mean of the kernel's diagonal) after a fit to the others
of a part of the training images. Ring: what is chosen; grey: share of the test images misread
after a fit to all training images with it, the one time that test images are read.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import COLOURS, INK, LIMIT_COLOUR, WIDTH, label_log_axis

TABLES = ("limit_chosen_regression",)
STYLES = ({}, {"ls": "--", "mfc": "none"}, {"ls": ":", "marker": "s"}, {"ls": "-.", "marker": "x"})


def draw(tables, cfg):
    """A line against the ridge for each depth (colour) and size of biases (style)."""
    table = tables["limit_chosen_regression"].sort_values("ridge")
    figure, axes = plt.subplots(figsize=(0.75 * WIDTH, 3.4))
    colours = dict(zip(sorted(table["depth"].unique()), COLOURS, strict=False))
    dashes = dict(zip(sorted(table["sigma_b"].unique()), STYLES, strict=False))
    for (depth, sigma_b), rows in table.groupby(["depth", "sigma_b"]):
        style = dict(color=colours[depth], marker="o", ms=5) | dashes[sigma_b]
        label = f"{depth} hidden, $\\sigma_b$ = {sigma_b:g}"
        axes.plot(rows["ridge"], 100 * rows["held_out_error"], label=label, **style)
    best = table[table["chosen"] == 1].iloc[0]
    ring = dict(ms=12, mfc="none", mec=INK, mew=1.2)
    axes.plot(best["ridge"], 100 * best["held_out_error"], "o", label="chosen", **ring)
    test = f"test, all {best['rows']:,.0f} images"
    axes.axhline(100 * (1 - best["accuracy"]), color=LIMIT_COLOUR, lw=2, label=test)
    axes.set(xscale="log", xlabel="ridge", ylabel="misread images (%)")
    label_log_axis(axes.xaxis, table["ridge"].unique().tolist())
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, handlelength=3.5)
    return figure
