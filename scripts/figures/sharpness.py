"""Edge of stability: 2 η λₘₐₓ of the tangent kernel K / M on the training set along training,
against the training time η t (loss mean (f(x) − y)², step η as in the title). Above the grey line
at 2 gradient descent with this step is unstable. Thin lines: one network each, at most five of a
width and eight widths.
"""

from ntkstudy.report.plotting import (
    LIMIT_COLOUR,
    few,
    panel_row,
    spread_colours,
    with_configured,
)

TABLES = ("training_kernel",)


def draw(tables, cfg):
    """A panel for each step size."""
    table = with_configured(tables["training_kernel"], cfg, "training.learning_rate")
    table = table[table["seed"] < 5]
    rates = sorted(table["learning_rate"].unique(), reverse=True)
    figure, panels = panel_row(len(rates), 3.4, sharex=True)
    colours = spread_colours(few(table["width"]))
    for axes, rate in zip(panels, rates, strict=True):
        rows = table[(table["learning_rate"] == rate) & (table["step"] > 0)]
        rows = rows[rows["width"].isin(colours)]
        for (width, seed), one in rows.groupby(["width", "seed"]):
            label = f"width {width}" if seed == 0 else None
            axes.plot(
                rate * one["step"], one["sharpness"], color=colours[width], lw=0.7, label=label
            )
        axes.axhline(2, color=LIMIT_COLOUR, lw=2, zorder=0)
        axes.set(title=f"step η = {rate:g}", xscale="log", xlabel="training time η t")
        axes.set_ylim(0, 2.6)
    panels[0].set_ylabel("2 η λₘₐₓ")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure
