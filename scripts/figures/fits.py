"""Functions of networks with two hidden ReLU layers after {training.steps} steps of size
{training.learning_rate} on the loss mean (f(x) − y)² of two points (dots), one line a network.
"""

from ntkstudy.report.plotting import INK, draw_functions, panel_row

TABLES = ("trained_function",)


def draw(tables, cfg):
    """A panel for each width."""
    table = tables["trained_function"]
    table = table[table["step"] > 0]
    widths = sorted(table["width"].unique())
    figure, panels = panel_row(len(widths), 2.6)
    for axes, width in zip(panels, widths, strict=True):
        draw_functions(axes, table, width=width)
        axes.plot(
            cfg["task"]["inputs"], cfg["task"]["targets"], "o", color=INK, ms=5, label="targets"
        )
    panels[0].set_ylabel("f(x)")
    panels[0].legend(fontsize=8)
    return figure
