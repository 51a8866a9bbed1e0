"""Paired differences of test accuracy, in points, for every architecture: mean over splits and 95 %
intervals, right of 0 where the first of the two is better. Network: trained; random: regression
with the kernel of the same network before training; limit: with that of its infinitely wide twin,
both with a ridge that folds of the learned images choose. Numbers at the right: mean test accuracy
of network, random and limit kernel in per cent; in brackets, on the first split, by how many points
the kernel of all pairs of outputs of that random network does better than its mean over outputs.
"""

import matplotlib.pyplot as plt

from ntkstudy.claims.uncertainty import interval
from ntkstudy.report.plotting import COLOURS, LIMIT_COLOUR, WIDTH

TABLES = ("theory_architecture_regression",)
PAIRS = {
    "network_over_random": ("network − random", "o"),
    "limit_over_network": ("limit − network", "s"),
    "limit_over_random": ("limit − random", "^"),
}


def draw(tables, cfg):
    """One row an architecture, three marks in it."""
    table = tables["theory_architecture_regression"]
    names = list(dict.fromkeys(table["architecture"]))
    figure, axes = plt.subplots(figsize=(WIDTH, 0.5 * len(names) + 1.1))
    for place, name in enumerate(names):
        rows = table[table["architecture"] == name]
        for index, (column, (label, marker)) in enumerate(PAIRS.items()):
            points = 100 * rows[column].dropna().to_numpy()
            low, high = interval(points, "mean").ends
            axes.errorbar(
                points.mean(), place + 0.22 * (index - 1),
                xerr=[[points.mean() - low], [high - points.mean()]], fmt=marker, ms=5,
                capsize=3, color=COLOURS[index], label=label if place == 0 else None,
            )  # fmt: skip
        means = (100 * rows[each].mean() for each in ("network", "random", "limit"))
        text = " / ".join(f"{mean:.0f}" for mean in means)
        text += f" ({100 * rows['block_over_random'].mean():+.0f})".replace("-", "−")
        axes.annotate(
            text, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize="small"
        )
    axes.annotate(
        "accuracy (%)", (1.01, -0.6), xycoords=("axes fraction", "data"), fontsize="small"
    )
    axes.axvline(0, color=LIMIT_COLOUR, lw=1)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("difference of test accuracy (points)")
    axes.grid(axis="x", alpha=0.25)
    figure.legend(loc="outside upper center", ncols=3)
    return figure
