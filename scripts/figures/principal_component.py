"""Networks trained from f₀ to f* = f₀ + s v on {task.train_points} digits; v is an eigenvector of
the limit kernel, with mean square 1, λ its eigenvalue; which one, and s, says the protocol. Left:
what is left along v; grey: infinite width, s (1 − 2ηλ)^t. Right: root mean square deviation from
the line from f₀ to f*. Thin lines: networks; bold: means; dotted: larger output scale α. Loss
mean (f(x) − y)² / α², step η = {training.learning_rate}.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import (
    INK,
    LIMIT_COLOUR,
    WIDTH,
    colour_key,
    label_log_axis,
    line_key,
    spread_colours,
)

TABLES = ("theory_principal_component",)


def draw(tables, cfg):
    """Along the eigenvector left, across it right."""
    table = tables["theory_principal_component"]
    table = table.assign(time=table["step"] * cfg["training"]["learning_rate"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    colours = spread_colours(table["width"])
    styles = dict(zip(sorted(set(table["output_scale"])), ("-", ":", "-.", "--"), strict=False))
    for (width, scale), rows in table.groupby(["width", "output_scale"]):
        look = dict(color=colours[width], ls=styles[scale])
        for axes, column in ((left, "along"), (right, "across")):
            for _, one in rows.groupby("seed"):
                axes.plot(one["time"], one[column], lw=0.7, alpha=0.4, **look)
            mean = rows.groupby("time")[column].mean()
            axes.plot(mean.index, mean, lw=2, **look)
    limit = table.groupby("time")["expected"].first()
    left.plot(limit.index, limit, "--", color=LIMIT_COLOUR, lw=2)
    left.set(yscale="log", xlabel="time η × steps", ylabel="residual along the eigenvector")
    label_log_axis(left.yaxis)
    right.set(xlabel="time η × steps", ylabel="deviation across it", ylim=(0, None))
    keys = colour_key("width {}", colours)
    keys += [(f"α = {scale:g}", dict(color=INK, ls=style)) for scale, style in styles.items()]
    keys.append(("infinite width", dict(color=LIMIT_COLOUR, ls="--")))
    left.legend(handles=line_key(keys), fontsize=8)
    return figure
