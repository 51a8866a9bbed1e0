"""Squared loss of gradient descent with a constant kernel: with the eigenvectors of the Gram matrix
at initialisation, and with the same eigenvalues but the eigenvectors in another order. One line a
network, {initializations} networks; step n/(2 λ_max).
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import COLOURS, WIDTH, line_key

TABLES = ("initialization_permuted_eigenvectors",)
CASES = {"loss": "own eigenvectors", "permuted": "eigenvectors in another order"}


def draw(tables, cfg):
    """Two bundles of loss curves."""
    table = tables["initialization_permuted_eigenvectors"]
    figure, axes = plt.subplots(figsize=(0.7 * WIDTH, 3.2))
    for colour, name in zip(COLOURS, CASES, strict=False):
        for _, run in table.groupby("seed"):
            axes.plot(run["time"], run[name], color=colour, lw=0.8, alpha=0.7)
    axes.set_xscale("symlog", linthresh=3)
    axes.set(yscale="log", xlabel="gradient steps", ylabel="loss")
    times = sorted(table["time"].unique())
    axes.set_xticks(times, [str(time) for time in times])
    key = [(label, {"color": c}) for c, label in zip(COLOURS, CASES.values(), strict=False)]
    axes.legend(handles=line_key(key))
    return figure
