"""Left: kernel of the network ({network.architecture}) on {task.train_points} digits in training,
mean over outputs, the images sorted by class (lines), over the mean of its diagonal. Right: share
of the training (solid) and test images (dashed) that it reads right, and alignment of the kernel
with the classes (dotted), up to that step. Optimizer {training.optimizer}, step
{training.learning_rate}, loss {training.loss}.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.colours import QUANTITIES
from ntkstudy.report.plotting import WIDTH, line_key

TABLES = ("training_class_kernel", "training_classification", "training_kernel")
STYLES = {
    "train_accuracy": ("training", {"color": QUANTITIES["train"]}),
    "test_accuracy": ("test", {"color": QUANTITIES["test"], "ls": "--"}),
    "alignment": ("alignment", {"color": QUANTITIES["alignment"], "ls": ":"}),
}


def draw(tables, cfg):
    """Figure of the last step, a function that shows another step, and the number of steps."""
    table = tables["training_class_kernel"]
    table = table[table["seed"] == table["seed"].min()].sort_values(["step", "row"])
    steps = np.array(sorted(table["step"].unique()))
    size = table["row"].max() + 1
    entries = table[[f"entry_{column}" for column in range(size)]].to_numpy()
    matrices = entries.reshape(len(steps), size, size)
    labels = table["label"].to_numpy(int)[:size]
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(WIDTH, 3.4), width_ratios=(5, 4), constrained_layout=True
    )
    low, high = np.quantile(matrices, (0.01, 0.99))
    image = left.imshow(matrices[0], cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
    edges = np.flatnonzero(np.diff(labels)) + 0.5
    for edge in edges:
        left.axhline(edge, color="white", lw=0.4)
        left.axvline(edge, color="white", lw=0.4)
    centres = [np.flatnonzero(labels == label).mean() for label in np.unique(labels)]
    left.set_xticks(centres, np.unique(labels), fontsize="small")
    left.set_yticks(centres, np.unique(labels), fontsize="small")
    left.set(xlabel="class", ylabel="class")
    figure.colorbar(image, ax=left, label="Θ over its diagonal", shrink=0.85)
    accuracies = ("train_accuracy", "test_accuracy")
    curves = _first(tables["training_classification"], accuracies)
    curves |= _first(tables["training_kernel"], ("alignment",))
    lines = {
        name: right.plot([], [], marker="o", ms=4, markevery=[-1], **STYLES[name][1])[0]
        for name in curves
    }
    right.set(xlim=(0, steps[-1]), ylim=(0, 1), xlabel="step", ylabel="share, alignment")
    figure.legend(handles=line_key(list(STYLES.values())), loc="outside upper right", ncols=3)
    clock = left.set_title("")

    def show(index: int) -> None:
        image.set_data(matrices[index])
        for name, line in lines.items():
            line.set_data(steps[: index + 1], curves[name].loc[steps[: index + 1]])
        clock.set_text(f"after {steps[index]} steps")

    return figure, show, len(steps)


def _first(table, columns):
    """Columns of the first network, by step."""
    rows = table[table["seed"] == table["seed"].min()].set_index("step")
    return {name: rows[name] for name in columns}
