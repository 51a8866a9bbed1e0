"""Kernel Θ(x₀, x) of random ReLU networks with {network.depth} hidden layers of width
{network.width}, bias scale {network.sigma_b}, at x = x₀ and x = −x₀ on the unit circle: one dot a
network, mean with 95 % interval (bars), the recursion (line) and the recursion as printed in the
slides (dashed).
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.colours import LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.plotting import WIDTH

TABLES = ("theory_recursion",)


def draw(tables, cfg):
    """A panel for each input."""
    table = tables["theory_recursion"]
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 3.0))
    for axes, (cosine, rows) in zip(panels, table.groupby("cosine"), strict=True):
        jitter = np.random.default_rng(0).uniform(-0.3, 0.3, len(rows))
        style = dict(color=QUANTITIES["network"])
        axes.plot(jitter, rows["measured"], ".", ms=3, alpha=0.4, label="networks", **style)
        mean, error = rows["measured"].mean(), 2 * rows["measured"].sem()
        axes.errorbar(0, mean, error, fmt="o", capsize=4, label="mean", zorder=4, **style)
        axes.axhline(rows["right"].iloc[0], color=LIMIT_COLOUR, lw=2, label="recursion")
        style = dict(color=QUANTITIES["published"], lw=2, ls="--", label="as printed")
        axes.axhline(rows["printed"].iloc[0], **style)
        place = "x = x₀" if cosine > 0 else "x = −x₀"
        axes.set(title=place, xlim=(-1, 1), xticks=[], xlabel="networks", ylim=(0, None))
    panels[0].set_ylabel("Θ(x₀, x)")
    panels[0].legend(fontsize=8)
    return figure
