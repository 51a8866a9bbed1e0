"""Networks trained from f₀ to f* = f₀ + v/2 on {task.train_points} digits; v is the second
eigenvector of the limit kernel, with mean square 1. Left: what is left along v; grey: infinite
width, (1 − 2ηλ₂)^t / 2. Right: root mean square deviation from the line from f₀ to f*. Thin lines:
networks; bold: means. Loss mean (f(x) − y)², step η = {training.learning_rate}.
"""

import matplotlib.pyplot as plt

from ntkflow.plotting import LIMIT_COLOUR, WIDTH, label_log_axis, spread_colours


def draw(tables, cfg):
    """Along the eigenvector left, across it right."""
    table = tables["theory_principal_component"]
    table = table.assign(time=table["step"] * cfg["training"]["learning_rate"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    colours = spread_colours(table["width"])
    for axes, column in ((left, "along"), (right, "across")):
        for width, rows in table.groupby("width"):
            for _, one in rows.groupby("seed"):
                axes.plot(one["time"], one[column], color=colours[width], lw=0.7, alpha=0.4)
            mean = rows.groupby("time")[column].mean()
            axes.plot(mean.index, mean, color=colours[width], lw=2, label=f"width {width}")
        axes.set_xlabel("time η × steps")
    limit = table.groupby("time")["expected"].first()
    left.plot(limit.index, limit, "--", color=LIMIT_COLOUR, lw=2, label="infinite width")
    left.set(yscale="log", ylabel="residual along the eigenvector")
    label_log_axis(left.yaxis)
    right.set(ylabel="deviation across it", ylim=(0, None))
    left.legend()
    return figure
