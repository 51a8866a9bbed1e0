"""Amplitude of f − target in each Fourier mode of the target, relative to the target's, against the
training time η t (loss mean (f(x) − y)²). Lines: median over the seeds of a width, at most
eight widths; bands: 10 to 90 %; grey: infinite width. Largest step size of the experiment.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.plotting import LIMIT_COLOUR, WIDTH, draw_median, few, spread_colours

TABLES = ("training_modes", "prediction_modes")


def draw(tables, cfg):
    """A panel for each mode of the target."""
    table, limit = tables["training_modes"], tables["prediction_modes"]
    rate = cfg["training"]["learning_rate"]
    if "learning_rate" in table:
        rate = table["learning_rate"].max()
        table, limit = (one[one["learning_rate"] == rate] for one in (table, limit))
    modes = np.sort(table.loc[table["target"] > 1e-9, "mode"].unique())
    columns = -(-len(modes) // 2)
    figure, panels = plt.subplots(2, columns, figsize=(WIDTH, 4.2), sharex=True, sharey=True)
    colours = spread_colours(few(table["width"]))
    for axes, mode in zip(panels.flat, modes, strict=False):
        rows = limit[(limit["mode"] == mode) & (limit["step"] > 0)]
        axes.plot(
            rate * rows["step"], rows["residual"] / rows["target"], color=LIMIT_COLOUR, lw=3,
            label="infinite width",
        )  # fmt: skip
        rows = table[(table["mode"] == mode) & (table["step"] > 0)]
        rows = rows.assign(left=rows["residual"] / rows["target"])
        for width, colour in colours.items():
            runs = rows[rows["width"] == width].groupby("step")["left"]
            draw_median(axes, runs, colour=colour, unit=rate, lw=1, label=f"width {width}")
        axes.set(title=f"mode {mode}", xscale="log", ylim=(0, 1.2))
    for axes in panels.flat[len(modes) :]:
        axes.set_axis_off()
        axes.legend(*panels[0][0].get_legend_handles_labels(), fontsize=8, loc="center")
    for axes in panels[-1]:
        axes.set_xlabel("η t")
    figure.supylabel("residual / target", fontsize=10)
    return figure
