"""Two-layer linear networks of width {network.width} on one point with target 0: loss f² (left) and
2ηλ of the kernel (right) against the step t, for three step sizes η. Thin lines: one network each.
Above the grey line at 2 a step is unstable for the initial kernel. Networks that diverge end.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import COLOURS, LIMIT_COLOUR, WIDTH

TABLES = ("losses", "training_kernel")


def draw(tables, cfg):
    """Loss on the left, sharpness on the right."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    for axes, table, column in (
        (left, tables["losses"], "loss"),
        (right, tables["training_kernel"], "sharpness"),
    ):
        for (rate, rows), colour in zip(table.groupby("learning_rate"), COLOURS, strict=False):
            for seed, one in rows.groupby("seed"):
                label = f"η = {rate:g}" if seed == 0 else None
                axes.plot(one["step"], one[column], color=colour, lw=0.7, label=label)
    left.set(yscale="log", ylabel="loss", ylim=(1e-12, 1e6))
    right.set(ylabel="2 η λ", ylim=(0, 7))
    right.axhline(2, color=LIMIT_COLOUR, lw=2, zorder=0)
    for axes in (left, right):
        axes.set(xlabel="step t")
    right.legend()
    return figure
