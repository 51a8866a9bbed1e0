"""Largest eigenvalue of the kernel (mean over outputs, on the training images) of networks as they
are evaluated, in {training.steps} steps of training, over its mean at the start, one column an
architecture. Above: the architecture by itself, with L2, and with dropout; thin dashed: null model,
untrained weights that only decay. Below: with and without normalisation, of batches in mlp, cnn and
resnet, of states in rnn, of tokens in transformer, which has it by itself. Mean over networks and
10 to 90 %, logarithmic.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import COLOURS, INK, WIDTH, label_log_axis, line_key

TABLES = ("training_gram",)
NORMALIZED = ("transformer",)  # by themselves


def draw(tables, cfg):
    """A grid: two rows, a column an architecture."""
    table = tables["training_gram"]
    names = list(dict.fromkeys(table["architecture"]))
    size = (WIDTH, 4.6)
    figure, grid = plt.subplots(
        2, len(names), figsize=size, sharex=True, sharey="row", squeeze=False
    )
    for column, name in zip(grid.T, names, strict=True):
        rows = table[table["architecture"] == name]
        own = rows[rows["normalization"] == ("usual" if name in NORMALIZED else "none")]
        _draw(column[0], own[(own["l2"] == 0) & (own["dropout"] == 0)], COLOURS[0], null=False)
        _draw(column[0], own[own["l2"] > 0], COLOURS[1], null=True)
        _draw(column[0], own[own["dropout"] > 0], COLOURS[2], null=False)
        plain = rows[(rows["l2"] == 0) & (rows["dropout"] == 0)]
        for colour, value in ((COLOURS[0], "none"), (COLOURS[3], "usual")):
            _draw(column[1], plain[plain["normalization"] == value], colour, null=False)
        column[0].set_title(name.replace("_", " "), fontsize="small")
        column[1].set_xlabel("step", fontsize="small")
    for line in grid:
        line[0].set(yscale="log", ylabel=r"$\lambda_{\max}$ / at start")
        label_log_axis(line[0].yaxis)
    for axes in grid.flat:
        axes.tick_params(labelsize=8)
    key = [("without", COLOURS[0]), ("L2", COLOURS[1]), ("dropout", COLOURS[2])]
    lines = [(label, {"color": colour}) for label, colour in key]
    lines.append(("decay alone", {"color": INK, "ls": "--", "lw": 0.8}))
    lines.append(("normalisation", {"color": COLOURS[3]}))
    figure.legend(handles=line_key(lines), loc="outside upper left", ncols=5, fontsize="small")
    return figure


def _draw(axes, rows, colour, *, null):
    """Mean and a band over all networks, and the null model."""
    if rows.empty:
        return
    tops = rows.pivot(index="step", columns="seed", values="lambda_max")
    tops = tops / tops.iloc[0].mean()
    low, high = tops.quantile(0.1, axis=1), tops.quantile(0.9, axis=1)
    axes.fill_between(tops.index, low, high, color=colour, alpha=0.2, lw=0)
    axes.plot(tops.index, tops.mean(axis=1), color=colour, lw=1.5)
    if null:
        factor = rows.groupby("step")["null_factor"].mean()
        axes.plot(factor.index, factor, "--", color=INK, lw=0.8)
