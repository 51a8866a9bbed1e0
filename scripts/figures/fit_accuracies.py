"""Test accuracy of the trained network and of kernel machines on the same images. Points: splits;
bars: mean and standard deviation over splits; crosses: the published value of one split. A name
says whose kernel (one sample of untrained networks, an average over them, the trained network,
infinite width), whether with all pairs of outputs (block) or their mean, and the machine: Adam on
cross-entropy from a random or zero start, or ridge regression.
"""

import matplotlib.pyplot as plt

from ntkflow.plotting import COLOURS, LIMIT_COLOUR, WIDTH, line_key

# Test accuracies of the semester report, table 1, and of its repository.
PUBLISHED = {
    "mlp": {"network": 0.848, "sample block random": 0.744, "trained block random": 0.81},
    "cnn": {"network": 0.894, "sample block random": 0.802, "trained block random": 0.84},
}


def draw(tables, cfg):
    """One row per fit, one panel per head of the network where that is swept."""
    table = tables["machines_kernel_classifiers"]
    groups = list(table.groupby("head")) if "head" in table else [("", table)]
    names = list(dict.fromkeys(table["fit"]))
    size = (WIDTH, 1.1 + 0.26 * len(names))
    figure, panels = plt.subplots(1, len(groups), figsize=size, sharey=True, squeeze=False)
    for axes, (head, group) in zip(panels[0], groups, strict=True):
        if head:
            axes.set_title(f"read-out: {head}")
        for row, name in enumerate(names):
            values = group.loc[group["fit"] == name, "test_accuracy"]
            colour = LIMIT_COLOUR if name == "network" else _colour(name)
            axes.plot(values, [row] * len(values), "o", ms=3.5, color=colour, alpha=0.45)
            spread = values.std() if len(values) > 1 else 0.0
            axes.errorbar(values.mean(), row, xerr=spread, fmt="|", ms=11, color=colour, capsize=3)
        axes.set_xlabel("test accuracy")
        axes.grid(axis="x", alpha=0.25)
        if not head:
            _mark_published(axes, names, cfg["network"]["kind"])
    panels[0, 0].set_yticks(range(len(names)), names)
    panels[0, 0].set_ylabel("kernel, outputs, machine")
    panels[0, 0].invert_yaxis()
    key = [
        ("network", {"color": LIMIT_COLOUR, "marker": "o", "ls": ""}),
        *[(name, {"color": _colour(name), "marker": "o", "ls": ""}) for name in _MACHINES],
        ("published", {"color": LIMIT_COLOUR, "marker": "x", "ls": ""}),
    ]
    figure.legend(handles=line_key(key), loc="outside upper center", ncols=len(key))
    return figure


_MACHINES = {"random": COLOURS[1], "zero": COLOURS[4], "ridge": COLOURS[0]}


def _colour(name):
    return _MACHINES[name.split()[-1]]


def _mark_published(axes, names, kind):
    for name, value in PUBLISHED[kind].items():
        if name in names:
            axes.plot(value, names.index(name), "x", color=LIMIT_COLOUR, ms=7, mew=1.8)
