"""Largest eigenvalue and trace of the Gram matrix against the number n of digits, at
initialisation, width {network.width}: mean over {initializations} networks, bars one standard
deviation. Left: of Θ, which grows like n by construction. Right: of Θ/n, which sets the rates of
training. Grey lines: infinite width. Kernel averaged over outputs.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.plotting import WIDTH

TABLES = ("initialization_gram", "limit_gram")
SHOWN = {"trace": "trace", "lambda_max": "largest eigenvalue"}


def draw(tables, cfg):
    """Sums on the left, means on the right."""
    table = tables["initialization_gram"].groupby("train_points")
    limit = tables["limit_gram"].set_index("train_points").sort_index()
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 3.1))
    for axes, suffix in zip(panels, ("", "_per_n"), strict=True):
        for name, label in SHOWN.items():
            rows = table[name + suffix]
            axes.plot(limit.index, limit[name + suffix], color=LIMIT_COLOUR, lw=1.8, zorder=0)
            style = dict(fmt="o", color=QUANTITIES[name], capsize=3, label=label)
            axes.errorbar(rows.mean().index, rows.mean(), rows.std(), **style)
        axes.set(xlabel="number of samples n", ylabel="of Θ/n" if suffix else "of Θ")
        axes.set_xlim(0, None)
        axes.set_ylim(0, None)
    panels[0].legend()
    return figure
