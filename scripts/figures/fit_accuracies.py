"""Test accuracy of the trained network and of kernel machines on the same images, and differences
from the network on the same split. Points: splits; bars and numbers: mean and standard deviation
over splits; crosses: the published value of one split. A name says whose kernel (one sample of
untrained networks, an average over them, the trained network, infinite width), whether with all
pairs of outputs (block) or their mean, and the machine: Adam on cross-entropy from a random or zero
start, or ridge regression. Where the read-out is swept: accuracies only, a panel for each.
"""

import matplotlib.pyplot as plt

from ntkstudy.data.tables import axes_of
from ntkstudy.report.colours import LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.plotting import WIDTH, line_key, published

TABLES = ("machines_kernel_classifiers",)

DIFFERENCE = "minus the network's"
MACHINES = ("random", "zero", "ridge")


def draw(tables, cfg):
    """One row per fit; beside the accuracies their differences from the network's, split by split.

    Where the head of the network is swept, a panel of accuracies for each head instead.
    """
    table = tables["machines_kernel_classifiers"]
    names = list(dict.fromkeys(table["fit"]))
    if "head" in table:
        groups = {f"read-out: {head}": group for head, group in table.groupby("head")}
    else:
        groups = {"": table, DIFFERENCE: _minus_network(table)}
    size = (WIDTH, 1.1 + 0.26 * len(names))
    figure, panels = plt.subplots(
        1, len(groups), figsize=size, sharey=True, sharex="head" in table, squeeze=False
    )
    for axes, (title, group) in zip(panels[0], groups.items(), strict=True):
        axes.set_title(title)
        _draw_fits(axes, group, names)
        axes.set_xlabel("difference of test accuracies" if title == DIFFERENCE else "test accuracy")
    if "head" not in table:
        _mark_published(panels[0, 0], names, cfg)
        panels[0, 1].axvline(0, color=LIMIT_COLOUR, lw=0.8)
    panels[0, 0].set_yticks(range(len(names)), names)
    panels[0, 0].set_ylabel("kernel, outputs, machine")
    panels[0, 0].set_ylim(len(names) - 0.5, -0.5)
    machines = [name for name in MACHINES if any(fit.endswith(name) for fit in names)]
    key = [
        ("network", {"color": QUANTITIES["network"], "marker": "o", "ls": ""}),
        *[(name, {"color": QUANTITIES[name], "marker": "o", "ls": ""}) for name in machines],
        *[("published", {"color": QUANTITIES["published"], "marker": "x", "ls": ""})]
        * ("head" not in table),
    ]
    figure.legend(handles=line_key(key), loc="outside upper center", ncols=len(key))
    return figure


def _minus_network(table):
    """The table with differences from the network on the same split in place of accuracies."""
    splits = table.set_index(axes_of(table, besides=["fit"]))
    network = splits.loc[splits["fit"] == "network", "test_accuracy"]
    return splits.assign(test_accuracy=splits["test_accuracy"] - network).reset_index()


def _draw_fits(axes, group, names):
    """Splits, their mean and standard deviation as bars, and as numbers beside the panel."""
    for row, name in enumerate(names):
        values = group.loc[group["fit"] == name, "test_accuracy"]
        colour = QUANTITIES[name.split()[-1]]
        mean, spread = values.mean(), values.std() if len(values) > 1 else 0.0
        axes.plot(values, [row] * len(values), "o", ms=3.5, color=colour, alpha=0.45)
        axes.errorbar(mean, row, xerr=spread, fmt="|", ms=11, color=colour, capsize=3)
        numbers = f"{mean:.3f} ± {spread:.3f}" if len(values) > 1 else f"{mean:.3f}"
        place = axes.get_yaxis_transform()
        axes.text(1.02, row, numbers, transform=place, fontsize=8, va="center")
    axes.grid(axis="x", alpha=0.25)


def _mark_published(axes, names, cfg):
    for name, value in zip(*published(cfg, "accuracy"), strict=True):
        if name in names:
            style = dict(color=QUANTITIES["published"], ms=7, mew=1.8)
            axes.plot(value, names.index(name), "x", **style)
