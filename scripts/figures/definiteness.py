"""Smallest eigenvalue of the kernel over its trace for ReLU networks of width {network.width} and a
few points of the plane, one dot a network, bars: infinite width. All have far more parameters than
points. Values below 10⁻¹⁷ are drawn there: they are zero up to rounding.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.plotting import WIDTH

TABLES = ("theory_definiteness",)
FLOOR = 1e-17


def draw(tables, cfg):
    """One row a case."""
    table = tables["theory_definiteness"]
    cases = list(dict.fromkeys(table["case"]))[::-1]
    place = table["case"].map(cases.index)
    figure, axes = plt.subplots(figsize=(0.85 * WIDTH, 3.2))
    smallest, style = table["smallest"].clip(lower=FLOOR), dict(color=QUANTITIES["network"], ms=4)
    axes.plot(smallest, place, ".", label="networks", zorder=3, **style)
    limit = table["limit"].clip(lower=FLOOR)
    style = dict(color=QUANTITIES["limit"], ms=16, mew=2.5)
    axes.plot(limit, place, "|", label="infinite width", **style)
    axes.axvspan(FLOOR / 2, 1e-14, color=LIMIT_COLOUR, alpha=0.25, lw=0, label="rounding")
    axes.set_yticks(range(len(cases)), cases)
    axes.set(
        xscale="log", xlim=(FLOOR / 2, 1), xlabel="smallest eigenvalue / trace", ylabel="points"
    )
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure
