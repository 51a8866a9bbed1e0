"""Functions of random networks with two hidden ReLU layers in PyTorch's default initialisation, one
line a network, for three widths. Dots: the training inputs.
"""

from ntkstudy.report.plotting import INK, draw_functions, panel_row

TABLES = ("initialization_function",)
SHOWN = 100  # networks


def draw(tables, cfg):
    """A panel for each width."""
    table = tables["initialization_function"]
    table = table[table["seed"] < SHOWN]
    widths, inputs = sorted(table["width"].unique()), cfg["task"]["inputs"]
    figure, panels = panel_row(len(widths), 2.6)
    for axes, width in zip(panels, widths, strict=True):
        draw_functions(axes, table, width=width)
        axes.plot(inputs, [0] * len(inputs), "o", color=INK, ms=4, label="training inputs")
    panels[0].set_ylabel("f(x)")
    panels[0].legend(fontsize=8)
    return figure
