"""Left: test accuracy after training against the chosen score of the kernel before training, a
point a network of the grid, means over the splits that did not choose the score; marks tell the
architecture. Right: Spearman's rank correlation of every score with the accuracy, over all networks
(filled) and over those above the bound of a good one alone (open): mean over these splits and 95 %
intervals.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.claims.uncertainty import interval
from ntkstudy.report.plotting import COLOURS, INK, LIMIT_COLOUR, WIDTH, line_key

TABLES = ("theory_pick_architecture",)
MARKERS = "os^DvP"
NAMES = {
    "ridge": "kernel ridge",
    "lambda_max": r"$\lambda_{\max}$",
    "trace": "trace",
    "effective_rank": "effective rank",
    "condition": "condition number",
}


def draw(tables, cfg):
    """Scatter of the chosen score, and the rank correlations of all."""
    table = tables["theory_pick_architecture"]
    table = table[table["judging"] == 1]
    figure, (scatter, ranks) = plt.subplots(1, 2, figsize=(WIDTH, 3.4), width_ratios=[3, 2])
    _draw_scatter(scatter, table[table["chosen"] == 1])
    _draw_ranks(ranks, table)
    return figure


def _draw_scatter(axes, table):
    means = table.groupby("candidate")[["value", "accuracy"]].mean()
    kinds = means.index.str.split().str[0]
    for index, kind in enumerate(dict.fromkeys(kinds)):
        rows = means[kinds == kind]
        axes.scatter(
            rows["value"], 100 * rows["accuracy"], marker=MARKERS[index % len(MARKERS)], s=22,
            color=COLOURS[index % len(COLOURS)], label=kind.replace("_", " "),
        )  # fmt: skip
    score = table["score"].iloc[0]
    xlabel = f"{NAMES.get(score, score)}, score before training"
    axes.set(xlabel=xlabel, ylabel="test accuracy after training (%)")
    if means["value"].min() > 0 and means["value"].max() > 30 * means["value"].min():
        axes.set_xscale("log")
    axes.legend(fontsize="small", loc="best")


def _draw_ranks(axes, table):
    first = table.drop_duplicates(["seed", "score"])
    scores = list(dict.fromkeys(first["score"]))
    columns = {"correlation": ("all networks", INK), "among_good": ("good ones", "none")}
    for place, score in enumerate(scores):
        rows = first[first["score"] == score]
        for index, (column, (_, face)) in enumerate(columns.items()):
            sample = rows[column].dropna().to_numpy()
            if not len(sample):
                continue
            style = dict(fmt="o", color=INK, mfc=face, ms=5, capsize=2)
            low, high = interval(sample, "mean").ends if len(sample) > 1 else (np.nan, np.nan)
            bars = np.array([[sample.mean() - low], [high - sample.mean()]])
            axes.errorbar(
                sample.mean(), place + 0.2 * index, xerr=np.nan_to_num(bars, posinf=0), **style
            )
    chosen = set(first[first["chosen"] == 1]["score"])
    labels = [NAMES.get(one, one) + ("\n(chosen)" if one in chosen else "") for one in scores]
    axes.set_yticks(range(len(scores)), labels)
    axes.invert_yaxis()
    axes.axvline(0, color=LIMIT_COLOUR, lw=1)
    axes.set_xlim(-1.05, 1.05)
    axes.set_xlabel("rank correlation")
    marks = [(label, {"marker": "o", "ls": "", "color": INK, "mfc": face})
             for label, face in columns.values()]  # fmt: skip
    axes.figure.legend(
        handles=line_key(marks), fontsize="small", loc="outside upper right", ncols=2
    )
