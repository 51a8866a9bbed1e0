"""Training with step 5 on {task.train_points} digits by width, median over {seeds} networks with
the middle half of them (bands). Left: loss on training (solid) and test images (dotted). Middle:
test loss against training loss, where networks of all widths can be compared. Right: largest
eigenvalue of the Gram matrix. Cross-entropy, mean over samples.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import (
    INK,
    WIDTH,
    colour_key,
    draw_median,
    line_key,
    spread_colours,
)

TABLES = ("training_gram", "training_classification")


def draw(tables, cfg):
    """Losses and eigenvalue of the fastest training."""
    gram, losses = tables["training_gram"], tables["training_classification"]
    rate = losses["learning_rate"].max()
    colours = spread_colours(losses["width"])
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(WIDTH, 3.2))
    for width, colour in colours.items():
        train, test, top = (
            table[(table["width"] == width) & (table["learning_rate"] == rate)].groupby("step")[
                column
            ]
            for table, column in (
                (losses, "train_loss"),
                (losses, "test_loss"),
                (gram, "lambda_max"),
            )
        )
        style = dict(colour=colour, shares=(0.25, 0.75), lw=1.2)
        draw_median(left, train, **style)
        draw_median(left, test, ":", **style)
        draw_median(middle, test, along=train, **style)
        draw_median(right, top, **style)
    left.set(xlabel="epoch", ylabel="loss")
    middle.set(xlabel="training loss", ylabel="test loss")
    middle.invert_xaxis()
    right.set(xlabel="epoch", ylabel="λ_max of Θ", yscale="log")
    key = colour_key("{}", colours)
    key += [("training", {"color": INK}), ("test", {"color": INK, "ls": ":"})]
    figure.legend(handles=line_key(key), title="width", loc="outside upper center", ncols=5)
    return figure
