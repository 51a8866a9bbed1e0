"""Functions learned by the networks on the circle, averaged over seeds, after {training.steps}
steps of size {training.learning_rate} on the loss mean (f(x) − y)², with the target, kernel ridge
regression (t = ∞) and the mean of infinitely wide networks at the same time. Grey band: mean ± 2
standard deviations over their initialisations. Below: distance of the averages from that mean. At
most eight widths.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import (
    INK,
    LIMIT_COLOUR,
    WIDTH,
    few,
    label_angle_axis,
    spread_colours,
)

TABLES = ("trained_function", "prediction_function")


def draw(tables, cfg):
    """Functions above, their distance from the limit below; networks as they are, not centred."""
    trained, limit = tables["trained_function"], tables["prediction_function"]
    trained = trained[trained["step"] > 0]
    if "centred" in trained:
        trained, limit = (table[~table["centred"]] for table in (trained, limit))
    if "learning_rate" in trained:
        rate = trained["learning_rate"].max()
        trained, limit = (table[table["learning_rate"] == rate] for table in (trained, limit))
    limit = limit[limit["step"] == limit["step"].max()].sort_values("gamma")
    gamma, mean = limit["gamma"], limit["mean"].to_numpy()
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(WIDTH, 5.0), sharex=True, height_ratios=[2.2, 1]
    )
    for axes, centre in ((above, mean), (below, 0 * mean)):
        reach = 2 * limit["deviation"]
        axes.fill_between(
            gamma, centre - reach, centre + reach, color=LIMIT_COLOUR, alpha=0.3, lw=0
        )
    above.plot(gamma, limit["target"], color=INK, lw=1, ls=":", label="target")
    above.plot(gamma, limit["ridge"], color=INK, lw=1, label="ridge regression")
    above.plot(gamma, mean, color=LIMIT_COLOUR, lw=3, label="infinite width")
    colours = spread_colours(few(trained["width"]))
    for width, colour in colours.items():
        rows = trained[trained["width"] == width]
        average = rows.pivot(index="gamma", columns="seed", values="f_0").mean(axis=1).to_numpy()
        above.plot(gamma, average, color=colour, lw=0.9, label=f"width {width}")
        below.plot(gamma, average - mean, color=colour, lw=0.9)
    above.set_ylabel("f(x(γ))")
    below.set_ylabel("f − infinite width")
    label_angle_axis(below)
    figure.legend(*above.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure
