"""Drift ‖K − K₀‖/‖K₀‖ of the kernel (mean over outputs, on the training images) where the loss is
half of what it was at the start, against the width, both axes logarithmic: mean over networks and
95 % intervals, one panel an architecture with the same axes. Dashed: width to the power −1 through
the widest. Dotted: one half, above which a width is not yet large. Networks that do not arrive are
left out.
"""

from ntkstudy.report.architectures import draw_against_width

TABLES = ("initialization_trained_to_loss",)
LARGE = 0.5


def draw(tables, cfg):
    """Small multiples, one an architecture."""
    table = tables["initialization_trained_to_loss"]
    table = table[table["level"] == table["level"].max()]
    ylabel = "drift of the kernel"
    style = dict(quantity="drift", ylabel=ylabel)
    return draw_against_width(table, "drift", **style, power=-1.0, bound=LARGE)
