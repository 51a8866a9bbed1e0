"""Loss on training images (solid) and on {task.test_points} test images (dotted), and training
accuracy, along the same training as the largest eigenvalue, one column per width: median over
{seeds} networks (lines) with the middle half of them (bands); at larger widths fewer may have been
trained. Dots: epoch of the smallest largest eigenvalue, median. Step {training.learning_rate};
cross-entropy, mean over samples, without dropout and at frozen statistics of batch normalisation.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import (
    INK,
    TRAINING_AXES,
    WIDTH,
    draw_median,
    line_key,
    training_colours,
    training_key,
)

TABLES = ("training_classification", "evolution")


def draw(tables, cfg):
    """Losses above, accuracy below, widths side by side."""
    table, turning = tables["training_classification"], tables["evolution"]
    axis = next(name for name in TRAINING_AXES if name in table)
    colours, widths = training_colours(axis, table), sorted(table["width"].unique())
    figure, panels = plt.subplots(
        2,
        len(widths),
        figsize=(WIDTH if len(widths) > 1 else 0.7 * WIDTH, 4.6),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    for (loss, accuracy), width in zip(panels.T, widths, strict=True):
        for value, rows in table[table["width"] == width].groupby(axis):
            runs, colour = rows.groupby("step"), colours[value]
            style = dict(colour=colour, shares=(0.25, 0.75), lw=1.2)
            draw_median(loss, runs["train_loss"], **style)
            draw_median(loss, runs["test_loss"], ":", **style)
            draw_median(accuracy, runs["train_accuracy"], **style)
            test = runs["test_loss"].median()
            mine = turning[(turning["width"] == width) & (turning[axis] == value)]
            lowest = mine["lowest_step"].median()
            nearest = test.index[abs(test.index - lowest).argmin()]
            loss.plot(nearest, test[nearest], "o", color=colour, ms=4)
        loss.set_title(f"width {width}")
        accuracy.set_xlabel("epoch")
    panels[0][0].set_ylabel("loss")
    panels[1][0].set_ylabel("training accuracy")
    key = training_key(axis, colours)
    key += [("training", {"color": INK}), ("test", {"color": INK, "ls": ":"})]
    columns = 4 if len(widths) > 1 else 2  # a single panel is narrower
    figure.legend(handles=line_key(key), loc="outside upper center", ncols=columns)
    return figure
