"""Distance ‖θₜ − θ₀‖ of all weights from their start against the training time η t (loss
mean (f(x) − y)²), median over seeds with a band from 10 to 90 %, at most eight widths, with the
lazy distance that the infinitely wide network moves (grey). Both axes logarithmic.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import (
    INK,
    LIMIT_COLOUR,
    WIDTH,
    draw_median,
    few,
    spread_colours,
    with_configured,
)

TABLES = ("training_movement", "prediction_movement")


def draw(tables, cfg):
    """One line a width, solid for the largest step size, dashed for smaller ones."""
    table, lazy = (
        with_configured(one, cfg, "training.learning_rate")
        for one in (tables["training_movement"], tables["prediction_movement"])
    )
    rates = sorted(table["learning_rate"].unique(), reverse=True)
    colours = spread_colours(few(table["width"]))
    figure, axes = plt.subplots(figsize=(0.75 * WIDTH, 3.6))
    limit = lazy[(lazy["learning_rate"] == rates[0]) & (lazy["step"] > 0)]
    axes.plot(
        rates[0] * limit["step"], limit["distance"], color=LIMIT_COLOUR, lw=3, label="lazy distance"
    )
    shown = table[(table["step"] > 0) & table["width"].isin(colours)]
    for (rate, width), rows in shown.groupby(["learning_rate", "width"]):
        runs, first = rows.groupby("step")["distance"], rate == rates[0]
        style = dict(colour=colours[width], lw=1.2, label=f"width {width}" if first else None)
        draw_median(axes, runs, "-" if first else "--", unit=rate, **style)
    axes.set(xscale="log", yscale="log", xlabel="training time η t", ylabel="‖θₜ − θ₀‖")
    if len(rates) > 1:
        steps = " and ".join(f"{rate:g}" for rate in rates[1:])
        axes.plot([], [], "--", color=INK, lw=1.2, label=f"step {steps}")
    figure.legend(loc="outside right upper")
    return figure
