"""The block kernel of a network from products with vectors. Left: its leading eigenvalues on all
images (dots) and on the compared ones (crosses), where the kernel was formed too (diamonds: its own
eigenvalues). Middle: share of the eigenvalues by their size over the first, a decade a bar, all
smaller ones in the first; crosses and diamonds as on the left; bars of error: standard
errors over random vectors, without what few products blur. Right: trace, Frobenius norm, effective
rank and alignment with the centred targets on the compared images over the kernel's own, with
standard errors.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.colours import LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.plotting import WIDTH, label_log_axis

TABLES = ("theory_large_spectrum", "theory_large_estimates", "theory_large_density")
FORMED = dict(marker="D", ms=8, ls="", mfc="none", color=QUANTITIES["matrix"])
COMPARED = dict(marker="x", ms=5, mew=1.5, ls="", color=QUANTITIES["products"])
LABELS = {
    "trace": "trace",
    "frobenius norm": "Frobenius\nnorm",
    "effective rank": "effective\nrank",
    "alignment": "alignment",
}


def draw(tables, cfg):
    """Eigenvalues, their density, and estimates over what they estimate."""
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, 3.2), width_ratios=(1, 1.15, 0.95))
    _draw_eigenvalues(panels[0], tables["theory_large_spectrum"])
    _draw_density(panels[1], tables["theory_large_density"])
    _draw_estimates(panels[2], tables["theory_large_estimates"])
    return figure


def _draw_eigenvalues(axes, table):
    rows, compared = (int(table[name].iloc[0]) for name in ("rows", "compared_rows"))
    rank = table["rank"]
    axes.plot(rank, table["formed_eigenvalue"], label=f"kernel, {compared:,}", **FORMED)
    axes.plot(rank, table["compared_eigenvalue"], label=f"products, {compared:,}", **COMPARED)
    if rows > compared:
        style = COMPARED | dict(marker="o", label=f"products, {rows:,}")
        axes.plot(rank, table["eigenvalue"], **style)
    axes.set(yscale="log", xlim=(0.3, len(rank) + 0.7), xlabel="rank", ylabel="eigenvalue")
    label_log_axis(axes.yaxis)
    axes.legend(fontsize=8, title="images", title_fontsize=8)


def _draw_density(axes, table):
    """Bars of all rows, and marks of the kernel."""
    total, compared = table["columns"], table["formed_count"].sum()
    places = table["bin"]
    colour = QUANTITIES["products"]
    axes.bar(places, table["count"] / total, color=colour, alpha=0.3, width=0.9)
    bars = dict(ls="", color=colour, capsize=3)
    axes.errorbar(places, table["count"] / total, table["error"] / total, **bars)
    axes.plot(places, table["formed_count"] / compared, **FORMED)
    few, error = table["compared_count"] / compared, table["compared_error"] / compared
    axes.errorbar(places, few, error, capsize=3, **COMPARED)
    labels = [f"$10^{{{round(decade)}}}$" for decade in np.log10(table["below"])]
    axes.set_xticks(places + 0.5, labels, fontsize=8)
    axes.set(xlabel="eigenvalue / first", ylabel="share of eigenvalues")


def _draw_estimates(axes, table):
    ratio = table["compared_value"] / table["formed_value"]
    error = table["compared_error"] / table["formed_value"].abs()
    places = np.arange(len(table))[::-1]
    axes.axvline(1, color=LIMIT_COLOUR, lw=1)
    axes.errorbar(ratio, places, xerr=error, capsize=3, **COMPARED)
    axes.set_yticks(places, [LABELS[name] for name in table["quantity"]])
    axes.set(ylim=(-0.5, len(table) - 0.5), xlabel="estimate / kernel's")
