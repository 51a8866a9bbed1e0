"""Random networks with one hidden layer without biases at x = 1: norm of the gradient, operator
norm of the Hessian, and laziness κ = |y| ‖∇²f‖ / ‖∇f‖² of the centred network, against the width.
Dots: draws; lines: medians; numbers: slopes of the mean over all widths with 95 % intervals. A ReLU
network whose neurons are all silent has no κ and is left out there.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.intervals import tell_slope
from ntkstudy.report.plotting import COLOURS, WIDTH, draw_spread

TABLES = ("theory_initial_kappa",)
PANELS = {"jacobian": "‖∇f‖", "second_derivative": "‖∇²f‖", "kappa": "κ"}


def draw(tables, cfg):
    """A panel for each quantity, a colour for each activation and parameterization."""
    table = tables["theory_initial_kappa"]
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, 3.8))
    kinds = [name for name in ("parameterization", "activation") if name in table]
    for axes, (column, label) in zip(panels, PANELS.items(), strict=True):
        for (kind, rows), colour in zip(table.groupby(kinds), COLOURS, strict=False):
            name = f"{', '.join(kind)}: {tell_slope(rows, 'width', column)}"
            draw_spread(axes, rows, "width", column, colour=colour, label=name)
        axes.set(xscale="log", yscale="log", xlabel="width m", title=label)
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.22))
    return figure
