"""The empirical kernel on the training set along training: its drift ‖Θ_t − Θ₀‖/‖Θ₀‖, its
sharpness 2ηλ_max(Θ_t/M), and its alignment with the target (cosine of Θ_t and yyᵀ). One column per
step size η, against η times the number of steps; thin lines: one seed each. Grey: the infinitely
wide network; dotted: sharpness 2, the edge of stability. Loss mean (f(x) − y)².
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import (
    INK,
    LIMIT_COLOUR,
    WIDTH,
    colour_key,
    label_decades,
    line_key,
    spread_colours,
)

TABLES = ("training_kernel", "limit_kernel")
ROWS = (
    ("drift", "drift of the kernel"),
    ("sharpness", "sharpness 2ηλ_max"),
    ("alignment", "alignment with yyᵀ"),
)


def draw(tables, cfg):
    """Quantities below each other, learning rates side by side."""
    table, limit = tables["training_kernel"], tables["limit_kernel"].iloc[0]
    colours, rates = spread_colours(table["width"]), sorted(table["learning_rate"].unique())
    figure, panels = plt.subplots(
        len(ROWS), len(rates), figsize=(WIDTH, 6.6), sharex=True, sharey="row", squeeze=False
    )
    for column, rate in zip(panels.T, rates, strict=True):
        runs = table[table["learning_rate"] == rate].groupby(["width", "seed"])
        for axes, (name, label) in zip(column, ROWS, strict=True):
            for (width, _), run in runs:
                run = run[run["step"] > 0] if name == "drift" else run  # there it is 0
                axes.plot(rate * run["step"], run[name], color=colours[width], lw=0.9, alpha=0.8)
            if axes in panels[:, 0]:
                axes.set_ylabel(label)
        column[0].set_title(f"η = {rate:g}")
        column[0].set_yscale("log")
        label_decades(column[0].yaxis)
        column[1].axhline(2.0, color=INK, ls=":", lw=1.2)
        column[1].axhline(2 * rate * limit["lambda_max"], color=LIMIT_COLOUR, lw=1.8)
        column[2].axhline(limit["alignment"], color=LIMIT_COLOUR, lw=1.8)
        column[-1].set_xlabel("η × steps")
    limit_style = {"color": LIMIT_COLOUR, "lw": 1.8}
    key = [*colour_key("width {}", colours), ("infinite width", limit_style)]
    figure.legend(handles=line_key(key), loc="outside upper center", ncols=len(key))
    return figure
