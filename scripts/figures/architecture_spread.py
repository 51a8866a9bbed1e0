"""Relative standard deviation of the kernel's entries (mean over outputs) over random networks
against the width, both axes logarithmic: mean over pairs of networks and 95 % intervals, one panel
an architecture with the same axes. Dashed: width to the power −1/2 through the widest. Dotted: .3,
above which a width is not yet large.
"""

from ntkstudy.report.architectures import draw_against_width

TABLES = ("initialization_kernel_spread",)
LARGE = 0.3


def draw(tables, cfg):
    """Small multiples, one an architecture."""
    table = tables["initialization_kernel_spread"]
    style = dict(quantity="network", ylabel="relative standard deviation")
    return draw_against_width(table, "spread", **style, power=-0.5, bound=LARGE)
