"""Functions of networks with two hidden ReLU layers after {training.steps} steps of size
{training.learning_rate} on the loss mean (f(x) − y)² of two points (dots), one line a network.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import COLOURS, INK, WIDTH

TABLES = ("trained_function",)


def draw(tables, cfg):
    """A panel for each width."""
    table = tables["trained_function"]
    table = table[table["step"] > 0]
    widths = sorted(table["width"].unique())
    figure, panels = plt.subplots(1, len(widths), figsize=(WIDTH, 2.6), sharey=True, squeeze=False)
    for axes, width in zip(panels[0], widths, strict=True):
        rows = table[table["width"] == width]
        lines = rows.pivot(index="position", columns="seed", values="f_0")
        axes.plot(lines.index, lines, color=COLOURS[0], lw=0.5, alpha=0.4)
        axes.plot(
            cfg["task"]["inputs"], cfg["task"]["targets"], "o", color=INK, ms=5, label="targets"
        )
        axes.set(title=f"width {width}, {lines.shape[1]} networks", xlabel="x")
    panels[0][0].set_ylabel("f(x)")
    panels[0][0].legend(fontsize=8)
    return figure
