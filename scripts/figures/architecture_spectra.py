"""Training of every architecture on digits, a column each, against the gradient steps. From above:
largest eigenvalue of K / M (kernel mean over outputs, on the training images), over that at the
start; effective rank of K; alignment, the cosine of K and y y'; accuracy on training (solid) and
test images (dashed). Thick: mean over networks and sets of images; band: 10 to 90 %.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import QUANTITIES
from ntkstudy.report.plotting import WIDTH, label_log_axis, line_key

TABLES = ("training_kernel", "training_classification")
STYLES = {
    "lambda_max": ("-", QUANTITIES["lambda_max"]),
    "effective_rank": ("-", QUANTITIES["rank"]),
    "alignment": ("-", QUANTITIES["alignment"]),
    "train_accuracy": ("-", QUANTITIES["train"]),
    "test_accuracy": ("--", QUANTITIES["test"]),
}


def draw(tables, cfg):
    """A grid: quantities below each other, architectures beside each other."""
    kernel = tables["training_kernel"]
    accuracies = ("train_accuracy", "test_accuracy")
    lines = (  # table, columns, label, whether relative to the first step
        (kernel, ("lambda_max",), r"$\lambda_{\max}$ / at start", True),
        (kernel, ("effective_rank",), "effective rank", False),
        (kernel, ("alignment",), "alignment", False),
        (tables["training_classification"], accuracies, "accuracy (%)", False),
    )
    names = list(dict.fromkeys(kernel["architecture"]))
    size = (WIDTH, 5.6)
    figure, grid = plt.subplots(
        len(lines), len(names), figsize=size, sharex=True, sharey="row", squeeze=False
    )
    for line, (table, columns, label, relative) in zip(grid, lines, strict=True):
        for axes, name in zip(line, names, strict=True):
            rows = table[table["architecture"] == name]
            for column in columns:
                _draw(axes, rows, column, relative=relative)
        line[0].set_ylabel(label, fontsize="small")
        if relative:
            line[0].set_yscale("log")
            label_log_axis(line[0].yaxis)
    for axes, name in zip(grid[0], names, strict=True):
        axes.set_title(name.replace("_", " "), fontsize="small")
    for axes in grid[-1]:
        axes.set_xlabel("step", fontsize="small")
    for axes in grid.flat:
        axes.tick_params(labelsize=8)
    key = [("training images", {"color": QUANTITIES["train"]})]
    key += [("test images", {"color": QUANTITIES["test"], "ls": "--"})]
    figure.legend(handles=line_key(key), loc="outside lower right", ncols=2, fontsize="small")
    return figure


def _draw(axes, rows, column, *, relative):
    """Mean and a band over all networks."""
    networks = [axis for axis in ("seed", "data_seed") if axis in rows]
    values = rows.pivot(index="step", columns=networks, values=column)
    values = values / values.iloc[0] if relative else values
    values = 100 * values if "accuracy" in column else values
    style, colour = STYLES[column]
    low, high = values.quantile(0.1, axis=1), values.quantile(0.9, axis=1)
    axes.fill_between(values.index, low, high, color=colour, alpha=0.2, lw=0)
    axes.plot(values.index, values.mean(axis=1), style, color=colour, lw=1.5)
