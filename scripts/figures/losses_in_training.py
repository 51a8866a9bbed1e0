"""Loss on training images (solid) and on {task.test_points} test images (dotted), and training
accuracy, along the same training as the largest eigenvalue, one column per width: median over
{seeds} networks (lines) with the middle half of them (bands); at larger widths fewer may have been
trained. Dots: epoch of the smallest largest
eigenvalue, median. Step {training.learning_rate}; cross-entropy, mean over samples, without dropout
and at frozen statistics of batch normalisation.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import (
    INK,
    TRAINING_AXES,
    WIDTH,
    line_key,
    spread_colours,
    training_key,
)

TABLES = ("training_classification", "evolution")


def draw(tables, cfg):
    """Losses above, accuracy below, widths side by side."""
    table, turning = tables["training_classification"], tables["evolution"]
    axis = next(name for name in TRAINING_AXES if name in table)
    colours, widths = spread_colours(table[axis]), sorted(table["width"].unique())
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
            _draw_runs(loss, runs["train_loss"], colour, "-")
            _draw_runs(loss, runs["test_loss"], colour, ":")
            _draw_runs(accuracy, runs["train_accuracy"], colour, "-")
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


def _draw_runs(axes, runs, colour, style):
    """Median over networks at every epoch, and a band from the first quartile to the third."""
    low, middle, high = (runs.quantile(share) for share in (0.25, 0.5, 0.75))
    axes.plot(middle.index, middle, style, color=colour, lw=1.2)
    axes.fill_between(middle.index, low, high, color=colour, alpha=0.15, lw=0)
