"""Steps of gradient descent until a Fourier mode of the target has 5 % of its residual left
against the time ln(20)/(2ηλₖ) that its eigenvalue λₖ predicts; both axes logarithmic. One point
per seed and mode; dashed: equality. Loss mean (f(x) − y)², step size η = {training.learning_rate},
{training.steps} steps, output scale α = {training.output_scale}.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter

from ntkstudy.report.plotting import LIMIT_COLOUR, WIDTH, spread_colours

TABLES = ("learning_times",)


def draw(tables, cfg):
    """Measured against predicted times with the line of equality."""
    table = tables["learning_times"].dropna()
    colours = spread_colours(table["mode"])
    figure, axes = plt.subplots(figsize=(0.6 * WIDTH, 3.4))
    for mode, group in table.groupby("mode"):
        # A nearly vertical pile of seeds: spread them a little along the horizontal axis.
        spread = 1.06 ** np.linspace(-1, 1, len(group))
        axes.plot(
            group["predicted"] * spread, group["time"], "o", color=colours[mode], ms=4, alpha=0.8
        )
        axes.annotate(
            f"k = {mode}",
            (group["predicted"].iloc[0], group["time"].mean()),
            (8, -9),
            textcoords="offset points",
            color=colours[mode],
        )
    ends = np.array([table["predicted"].min() / 1.5, table["predicted"].max() * 2.5])
    axes.plot(ends, ends, "--", color=LIMIT_COLOUR, lw=1.5, zorder=0)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="predicted time ln(20)/(2ηλₖ) (steps)",
        ylabel="measured time (steps)",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    return figure
