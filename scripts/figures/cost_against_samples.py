"""Time (left) and memory beyond the data (right) for all eigenvalues of the Gram matrix, and for
the first ten by products with the Jacobian alone, against the number n of digits; one point a
network of width {network.width}, lines through the medians, bands from 10 to 90 %. Thin: powers of
n through the last median. Times include what else ran on the machine.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import INK, QUANTITIES
from ntkstudy.report.plotting import WIDTH, draw_median, label_log_axis, line_key

TABLES = ("initialization_spectrum_cost",)
CASES = {
    "": ("all, from the matrix", "matrix"),
    "free_": ("first ten, without the matrix", "products"),
}
DASHES, _POWERS = {3: "--", 2: "-.", 1: ":"}, {3: "³", 2: "²", 1: ""}
PANELS = (("seconds", "seconds", 1.0, (3, 1)), ("bytes", "MB", 1e6, (2, 1)))


def draw(tables, cfg):
    """Two panels on logarithmic axes."""
    table = tables["initialization_spectrum_cost"]
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
    for axes, (name, label, unit, powers) in zip(panels, PANELS, strict=True):
        for (prefix, (case, way)), power in zip(CASES.items(), powers, strict=True):
            values, colour = table[prefix + name] / unit, QUANTITIES[way]
            axes.plot(table["train_points"], values, "o", color=colour, ms=4)
            groups = values.groupby(table["train_points"])
            draw_median(axes, groups, colour=colour, lw=1.2, label=case)
            median = groups.median()
            line = median.iloc[-1] * (median.index / median.index[-1]) ** float(power)
            axes.plot(median.index, line, DASHES[power], color=INK, lw=0.7)
        axes.set(xscale="log", yscale="log", xlabel="number of samples n", ylabel=label)
        label_log_axis(axes.xaxis, sorted(table["train_points"].unique()))
        key = [(f"∝ n{_POWERS[power]}", {"color": INK, "ls": DASHES[power]}) for power in powers]
        axes.add_artist(axes.legend(handles=line_key(key), loc="upper left"))
    panels[0].legend(loc="lower right")
    return figure
