"""The spectrum of the Gram matrix during training, one colour per strength l2 of L2. Left: all
eigenvalues, largest first, one line a network. Right: median of the largest eigenvalue up to that
epoch. Step {training.learning_rate}, width {network.width}; cross-entropy, mean over samples;
kernel averaged over outputs, not divided by n.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.plotting import WIDTH, colour_key, line_key, spread_colours

TABLES = ("training_gram_spectrum",)


def draw(tables, cfg):
    """Figure of the last step, a function that shows another step, and the number of steps."""
    table = tables["training_gram_spectrum"]
    steps, colours = (
        np.array(sorted(table["step"].unique())),
        spread_colours(table["l2"], "strength"),
    )
    runs = {key: run for key, run in table.groupby(["l2", "seed", "step"])}
    top = table[table["rank"] == 1].groupby(["l2", "step"])["eigenvalue"].median()
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(WIDTH, 3.1), width_ratios=(3, 2), constrained_layout=True
    )
    lines = {
        (l2, seed): left.plot([], [], color=colours[l2], lw=0.9, alpha=0.7)[0]
        for l2, seed, step in runs
        if step == steps[0]
    }
    paths = {l2: right.plot([], [], color=colour, lw=1.5)[0] for l2, colour in colours.items()}
    largest = table["eigenvalue"].max()
    left.set(xscale="log", yscale="log", xlabel="rank", ylabel="eigenvalue of Θ")
    left.set(xlim=(0.9, table["rank"].max()), ylim=(1e-5 * largest, 2 * largest))
    right.set(xlim=(0, steps[-1]), ylim=(0, 1.1 * top.max()), xlabel="epoch", ylabel="λ_max of Θ")
    key = colour_key("l2 = {:g}", colours)
    figure.legend(handles=line_key(key), loc="outside upper left", ncols=len(key))
    clock = right.set_title("")

    def show(index: int) -> None:
        for (l2, seed), line in lines.items():
            now = runs[l2, seed, steps[index]]
            line.set_data(now["rank"], now["eigenvalue"].clip(lower=1e-12))
        for l2, path in paths.items():
            path.set_data(steps[: index + 1], top[l2].loc[steps[: index + 1]])
        clock.set_text(f"epoch {steps[index]}")

    return figure, show, len(steps)
