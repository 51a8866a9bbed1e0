"""Distance ‖θₜ − θ₀‖ of all weights from their start against the training time η t (loss
mean (f(x) − y)²), mean over seeds, with the lazy distance that the infinitely wide network moves
(grey). Both axes logarithmic.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import LIMIT_COLOUR, WIDTH, spread_colours, with_configured

TABLES = ("training_movement", "prediction_movement")


def draw(tables, cfg):
    """One line a width, solid for the largest step size, dashed for smaller ones."""
    table, lazy = (
        with_configured(one, cfg, "training.learning_rate")
        for one in (tables["training_movement"], tables["prediction_movement"])
    )
    rates = sorted(table["learning_rate"].unique(), reverse=True)
    colours = spread_colours(table["width"])
    figure, axes = plt.subplots(figsize=(0.75 * WIDTH, 3.6))
    limit = lazy[(lazy["learning_rate"] == rates[0]) & (lazy["step"] > 0)]
    axes.plot(
        rates[0] * limit["step"], limit["distance"], color=LIMIT_COLOUR, lw=3, label="lazy distance"
    )
    for (rate, width), rows in table[table["step"] > 0].groupby(["learning_rate", "width"]):
        mean = rows.groupby("step")["distance"].mean()
        first = rate == rates[0]
        axes.plot(
            rate * mean.index, mean, "-" if first else "--", color=colours[width], lw=1.2,
            label=f"width {width}" if first else None,
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="training time η t", ylabel="‖θₜ − θ₀‖")
    if len(rates) > 1:
        steps = " and ".join(f"{rate:g}" for rate in rates[1:])
        axes.plot([], [], "--", color="black", lw=1.2, label=f"step {steps}")
    figure.legend(loc="outside right upper")
    return figure
