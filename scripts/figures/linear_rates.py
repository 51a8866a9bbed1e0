"""Decay rate of every mode of the residual, fitted on gradient descent of the linearised network
({training.steps} steps of size {training.learning_rate}, loss mean (f(x) − y)²), against 2ηλ of the
mode's eigenvalue λ of K/M. One dot a mode and network; grey: equal. Below: their ratio.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.plotting import WIDTH

TABLES = ("theory_linear_descent",)


def draw(tables, cfg):
    """Rates above, ratios below."""
    table = tables["theory_linear_descent"]
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(0.7 * WIDTH, 4.0), sharex=True, height_ratios=[2, 1]
    )
    style = dict(ls="", marker=".", color=QUANTITIES["linearized"])
    above.plot(table["predicted"], table["rate"], label="fitted", **style)
    ends = [table["predicted"].min(), table["predicted"].max()]
    above.plot(ends, ends, color=LIMIT_COLOUR, lw=2, zorder=0, label="2ηλ")
    above.set(yscale="log", ylabel="rate per step")
    above.legend()
    below.plot(table["predicted"], table["ratio"], **style)
    below.axhline(1, color=LIMIT_COLOUR, lw=2, zorder=0)
    below.set(xscale="log", xlabel="2ηλ", ylabel="rate / 2ηλ", ylim=(0.98, 1.02))
    return figure
