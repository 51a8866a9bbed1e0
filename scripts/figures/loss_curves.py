"""Training loss, mean (f(x) − y)², against the training time η t, t steps of size η: median over
seeds; bands: 10 to 90 %. Where several step sizes are run: the largest; of many widths: eight.
"""

from ntkstudy.report.plotting import (
    draw_median,
    few,
    label_log_axis,
    panel_row,
    spread_colours,
    with_configured,
)

TABLES = ("losses",)
FLOOR = 1e-12  # losses below are left out: rounding


def draw(tables, cfg):
    """One curve a width; a panel each for networks as they are and centred ones."""
    table = with_configured(tables["losses"], cfg, "training.centred", "training.learning_rate")
    rate = table["learning_rate"].max()
    table = table[table["learning_rate"] == rate]
    kinds = sorted(table["centred"].unique())
    figure, panels = panel_row(len(kinds), 3.3, sharex=True)
    colours = spread_colours(few(table["width"]))
    for axes, centred in zip(panels, kinds, strict=True):
        for width, colour in colours.items():
            rows = table[(table["width"] == width) & (table["centred"] == centred)]
            groups = rows[rows["step"] > 0].groupby("step")["loss"]
            draw_median(axes, groups, colour=colour, unit=rate, label=f"width {width}")
        axes.set(
            yscale="log",
            xlabel="training time η t",
            title="centred, h − h₀" if centred else "as they are",
        )
        if cfg["training"]["spacing"] == "log":
            axes.set_xscale("log")
    panels[0].set_ylabel("training loss")
    if panels[0].get_ylim()[0] < FLOOR:
        panels[0].set_ylim(bottom=FLOOR)
    label_log_axis(panels[0].yaxis)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure
