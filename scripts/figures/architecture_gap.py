"""Distance ‖f − f∞‖/‖f∞‖ on test images between centred networks, where their loss is half of what
it was at the start, and the infinitely wide network of the same architecture after as many steps,
against the width, both axes logarithmic: mean over networks and 95 % intervals, one panel an
architecture with the same axes. Dashed: width to the power −1/2 through the widest.
"""

from ntkstudy.report.architectures import draw_against_width

TABLES = ("initialization_trained_to_loss",)


def draw(tables, cfg):
    """Small multiples, one an architecture."""
    table = tables["initialization_trained_to_loss"]
    table = table[table["level"] == table["level"].max()]
    style = dict(quantity="to_limit", ylabel="gap to infinite width")
    return draw_against_width(table, "gap", **style, power=-0.5)
