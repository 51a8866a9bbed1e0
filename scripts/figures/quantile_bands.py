"""Outputs on the circle of ReLU networks with {network.depth} hidden layers after {training.steps}
steps of size {training.learning_rate} on the loss mean (f(x) − y)² of four points (dots): 10th,
50th and 90th percentile over networks, and those of the closed-form Gaussian process at the same
time (grey band and line).
"""

import numpy as np

from ntkstudy.report.colours import INK, LIMIT_COLOUR
from ntkstudy.report.plotting import label_angle_axis, panel_row, spread_colours

TABLES = ("trained_function", "prediction_function", "dataset")
REACH = 1.2816  # standard deviations from the median to the 10th and 90th percentile


def draw(tables, cfg):
    """A panel for each width."""
    trained, limit = tables["trained_function"], tables["prediction_function"]
    points = tables["dataset"]
    trained = trained[trained["step"] > 0]
    limit = limit[limit["step"] == limit["step"].max()].sort_values("gamma")
    widths = sorted(trained["width"].unique())
    figure, panels = panel_row(len(widths), 3.2)
    colours = spread_colours(widths)
    for axes, (width, colour) in zip(panels, colours.items(), strict=True):
        low, high = (limit["mean"] + sign * REACH * limit["deviation"] for sign in (-1, 1))
        axes.fill_between(limit["gamma"], low, high, color=LIMIT_COLOUR, alpha=0.35, lw=0)
        axes.plot(limit["gamma"], limit["mean"], color=LIMIT_COLOUR, lw=2.5)
        lines = trained[trained["width"] == width].pivot(
            index="gamma", columns="seed", values="f_0"
        )
        for share, style in ((0.1, "--"), (0.5, "-"), (0.9, "--")):
            axes.plot(lines.index, lines.quantile(share, axis=1), style, color=colour, lw=1.2)
        angles = np.arctan2(points["x_1"], points["x_0"])
        axes.plot(angles, points["y_0"], "o", color=INK, ms=5)
        axes.set_title(f"width {width}, {lines.shape[1]} networks")
        label_angle_axis(axes)
    panels[0].set_ylabel("f(x(γ))")
    return figure
