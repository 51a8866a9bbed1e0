"""Largest eigenvalue of the Gram matrix along training, one panel per width: median over {seeds}
networks (lines) with the middle half of them (bands); at larger widths fewer networks may have been
trained. Where there are penalties, thin dashed lines: null model, the median without penalty times
the shrinkage that the penalty alone would cause. Optimizer {training.optimizer}, step
{training.learning_rate}; cross-entropy, mean over samples; kernel averaged over outputs, not
divided by n, without dropout and at frozen statistics of batch normalisation.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import (
    INK,
    TRAINING_AXES,
    WIDTH,
    draw_median,
    label_log_axis,
    line_key,
    training_colours,
    training_key,
)

TABLES = ("training_gram",)
PENALTIES = ("l1", "l2")


def draw(tables, cfg):
    """Panels side by side; on logarithmic axes where networks are regularised."""
    table = tables["training_gram"]
    axis = next(name for name in TRAINING_AXES if name in table)
    colours, widths = training_colours(axis, table), sorted(table["width"].unique())
    figure, panels = plt.subplots(
        1, len(widths), figsize=(WIDTH if len(widths) > 1 else 0.7 * WIDTH, 3.4), squeeze=False
    )
    for axes, width in zip(panels[0], widths, strict=True):
        cells = dict(list(table[table["width"] == width].groupby(axis)))
        if axis in PENALTIES:
            free = cells[min(cells)].groupby("step")["lambda_max"].median()
        for value, rows in cells.items():
            runs = rows.groupby("step")["lambda_max"]
            draw_median(axes, runs, colour=colours[value], shares=(0.25, 0.75), lw=1.4)
            factor = rows.groupby("step")["null_factor"].first()
            if axis in PENALTIES and value > 0:
                axes.plot(factor.index, free * factor, "--", color=colours[value], lw=0.8)
        axes.set(title=f"width {width}", xlabel="epoch")
        if axis == "train_points":
            axes.set_ylim(0, None)
        elif axis in PENALTIES:
            lowest = table.groupby([axis, "step"])["lambda_max"].median().min()
            axes.set(yscale="log", ylim=(max(lowest / 2, 2e-3 * free.max()), 2 * free.max()))
        else:
            axes.set(yscale="log")
            label_log_axis(axes.yaxis)
    panels[0][0].set_ylabel("λ_max of Θ")
    key = training_key(axis, colours)
    if axis in PENALTIES:
        key.append(("null model", {"color": INK, "ls": "--", "lw": 0.8}))
    figure.legend(handles=line_key(key), loc="outside upper center", ncols=3)
    return figure
