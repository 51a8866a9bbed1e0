"""Smallest over largest |eigenvalue| of the Hessian of the loss mean (f(x) − y)² at initialisation:
in the weights of the network, in those of the linearised network, and in the outputs on the
training set. One dot a network; left of the grey line the loss is not convex.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.colours import COLOURS, LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.plotting import WIDTH

TABLES = ("theory_convexity",)
ROWS = {"function": "outputs", "linearized": "weights, linearised", "network": "weights, network"}
SHOWN = {"function": COLOURS[2]} | QUANTITIES


def draw(tables, cfg):
    """One row a space."""
    table = tables["theory_convexity"]
    figure, axes = plt.subplots(figsize=(0.8 * WIDTH, 2.2))
    for place, column in enumerate(ROWS):
        jitter = np.random.default_rng(0).uniform(-0.15, 0.15, len(table))
        axes.plot(table[column], place + jitter, ".", color=SHOWN[column])
    axes.axvline(0, color=LIMIT_COLOUR, lw=2, zorder=0)
    axes.set_yticks(range(len(ROWS)), ROWS.values())
    axes.set_xscale("symlog", linthresh=0.01)
    axes.set(xlabel="smallest eigenvalue / largest", ylabel="loss in the", ylim=(-0.5, 2.5))
    return figure
