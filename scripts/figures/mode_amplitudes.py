"""Amplitude of each Fourier mode of the target, learned after {training.steps} steps of size
{training.learning_rate} on the loss mean (f(x) − y)²: target (dotted), infinite width at the same
time (grey line) and at most eight widths, centred where the experiment trains such, with the
largest step where it has several (mean over seeds; bars: standard deviation).
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.plotting import INK, LIMIT_COLOUR, WIDTH, few, spread_colours

TABLES = ("modes_comparison",)


def draw(tables, cfg):
    """Amplitude against mode, widths side by side at each mode."""
    table = tables["modes_comparison"]
    if "centred" in table:
        table = table[table["centred"]]
    if "learning_rate" in table:
        table = table[table["learning_rate"] == table["learning_rate"].max()]
    modes = np.sort(table["mode"].unique())
    place = np.arange(len(modes))
    figure, axes = plt.subplots(figsize=(WIDTH, 3.4))
    once = table.groupby("mode")[["target", "predicted_amplitude"]].first()
    axes.plot(place, once["target"], ":", color=INK, lw=1, marker="_", ms=18, label="target")
    axes.plot(
        place, once["predicted_amplitude"], color=LIMIT_COLOUR, lw=2.5, label="infinite width"
    )
    colours = spread_colours(few(table["width"]))
    for index, (width, colour) in enumerate(colours.items()):
        groups = table[table["width"] == width].groupby("mode")["amplitude"]
        shift = 0.4 * ((index + 0.5) / len(colours) - 0.5)
        axes.errorbar(
            place + shift,
            groups.mean(),
            groups.std(),
            fmt=".",
            color=colour,
            label=f"width {width}",
        )
    axes.set_xticks(place, modes)
    axes.set(xlabel="mode k (periods per turn)", ylabel="amplitude", ylim=(0, None))
    figure.legend(loc="outside upper center", ncols=4)
    return figure
