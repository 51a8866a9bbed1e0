"""Left: processor time of the kernel of N inputs of a network with {network.depth} hidden layers of
width {network.width}; grey: slope 2. Right: peak memory of a gradient of the loss against the
number of parameters; grey: slope 1. Dots: repetitions; lines: medians, bands from 10 to 90 %.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.plotting import WIDTH, draw_spread, label_log_axis

TABLES = ("theory_cost_growth", "theory_step_cost")


def draw(tables, cfg):
    """Time on the left, memory on the right, each with its law."""
    figure, (time, memory) = plt.subplots(1, 2, figsize=(WIDTH, 3.0))
    kernels, steps = tables["theory_cost_growth"], tables["theory_step_cost"]
    steps = steps.assign(mb=steps["bytes"] / 1e6)
    _draw(time, kernels, "points", "seconds", power=2, colour=QUANTITIES["layerwise"])
    time.set(xlabel="number of inputs N", ylabel="processor seconds")
    label_log_axis(time.xaxis, sorted(kernels["points"].unique()))
    _draw(memory, steps, "parameters", "mb", power=1, colour=QUANTITIES["gradient"])
    memory.set(xlabel="number of parameters", ylabel="peak memory, MB")
    return figure


def _draw(axes, table, along, column, *, power, colour):
    """A spread on logarithmic axes, and a power of the axis through its last median."""
    draw_spread(axes, table, along, column, colour=colour, label="measured")
    median = table.groupby(along)[column].median()
    law = median.iloc[-1] * (median.index.to_numpy() / median.index[-1]) ** float(power)
    label = f"slope {power}"
    axes.plot(median.index, law, color=LIMIT_COLOUR, lw=2, zorder=0, label=label)
    axes.set(xscale="log", yscale="log")
    label_log_axis(axes.yaxis)
    axes.legend()
