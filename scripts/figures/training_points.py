"""The {task.train_points} training inputs, coloured by their target, and the unit circle on which
the kernel is measured. Training happens off the circle: the kernel on it is a probe, not the data.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.plotting import INK, LIMIT_COLOUR, WIDTH, anchor_angle

TABLES = ("dataset",)


def draw(tables, cfg):
    """Scatter of the training set around the probe circle."""
    points = tables["dataset"]
    figure, axes = plt.subplots(figsize=(0.6 * WIDTH, 0.52 * WIDTH))
    bound = points["y_0"].abs().max()
    dots = axes.scatter(
        points["x_0"],
        points["x_1"],
        c=points["y_0"],
        s=9,
        cmap="PuOr",
        vmin=-bound,
        vmax=bound,
        edgecolors=LIMIT_COLOUR,
        linewidths=0.3,
    )
    angle = np.linspace(-np.pi, np.pi, 361)
    axes.plot(np.cos(angle), np.sin(angle), color=INK, lw=1.2, label="probe circle x(γ)")
    anchor = anchor_angle(cfg)
    axes.plot(np.cos(anchor), np.sin(anchor), "o", color=INK, ms=5, label="anchor x₀")
    axes.set(xlabel="x₁", ylabel="x₂")
    axes.set_box_aspect(1)
    axes.set_aspect("equal", adjustable="datalim")
    figure.legend(loc="outside upper center", ncols=2, handlelength=1.5)
    colour_bar = figure.colorbar(dots, label="target y = x₁x₂", aspect=25)
    colour_bar.outline.set_visible(False)
    return figure
