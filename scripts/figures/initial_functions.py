"""Functions of random networks with two hidden ReLU layers in PyTorch's default initialisation, one
line a network, for three widths. Dots: the training inputs.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import COLOURS, INK, WIDTH

TABLES = ("initialization_function",)
SHOWN = 100  # networks


def draw(tables, cfg):
    """A panel for each width."""
    table = tables["initialization_function"]
    widths = sorted(table["width"].unique())
    figure, panels = plt.subplots(1, len(widths), figsize=(WIDTH, 2.6), sharey=True, squeeze=False)
    for axes, width in zip(panels[0], widths, strict=True):
        rows = table[(table["width"] == width) & (table["seed"] < SHOWN)]
        lines = rows.pivot(index="position", columns="seed", values="f_0")
        axes.plot(lines.index, lines, color=COLOURS[0], lw=0.5, alpha=0.4)
        inputs = cfg["task"]["inputs"]
        axes.plot(inputs, [0] * len(inputs), "o", color=INK, ms=4, label="training inputs")
        axes.set(title=f"width {width}, {lines.shape[1]} networks", xlabel="x")
    panels[0][0].set_ylabel("f(x)")
    panels[0][0].legend(fontsize=8)
    return figure
