"""Distance ‖f − f∞‖/‖f∞‖ on test images between kernel ridge regression with kernels of narrow
networks and with the limit kernel, one column an architecture: with the kernel of one network of
the largest width, with the mean kernel of networks of that width, and with the mean kernels of
three widths n extrapolated as a + b/n. A dot an estimate of networks of its own; large:
median. Dotted: 5 %.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.plotting import COLOURS, LIMIT_COLOUR, WIDTH, label_log_axis, line_key

TABLES = ("initialization_estimate_wide",)
ALLOWED = 0.05
COLUMNS = {"single": "one network", "widest": "mean kernel", "gap": "extrapolated"}


def draw(tables, cfg):
    """Three columns of dots for each architecture."""
    table = tables["initialization_estimate_wide"]
    names = list(dict.fromkeys(table["architecture"]))
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    for place, (column, colour) in enumerate(zip(COLUMNS, COLOURS, strict=False)):
        samples = [table[table["architecture"] == name][column].to_numpy() for name in names]
        places = np.arange(len(names)) + 0.22 * (place - 1)
        for at, sample in zip(places, samples, strict=True):
            axes.plot(np.full(len(sample), at), sample, ".", color=colour, ms=4, alpha=0.35)
        axes.plot(places, [np.median(sample) for sample in samples], "o", color=colour, ms=6)
    axes.axhline(ALLOWED, ls=":", color=LIMIT_COLOUR)
    widest = table.groupby("architecture")["width"].max()
    labels = [f"{name.replace('_', ' ')}\nn = {widest[name]}" for name in names]
    axes.set_xticks(range(len(names)), labels)
    axes.set(yscale="log", ylabel="distance from the limit")
    label_log_axis(axes.yaxis)
    key = [
        (label, {"color": colour, "marker": "o", "ls": "", "ms": 6})
        for label, colour in zip(COLUMNS.values(), COLOURS, strict=False)
    ]
    figure.legend(handles=line_key(key), loc="outside upper left", ncols=3)
    return figure
