"""The {task.train_points} training inputs, coloured by their target, and the unit circle on which
the kernel is measured. Training happens off the circle: the kernel on it is a probe, not the data.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkflow.plotting import INK, WIDTH, anchor_angle


def draw(tables, cfg):
    """Scatter of the training set around the probe circle."""
    points = tables["dataset"]
    figure, axes = plt.subplots(figsize=(0.62 * WIDTH, 0.52 * WIDTH))
    bound = points["y_0"].abs().max()
    dots = axes.scatter(
        points["x_0"],
        points["x_1"],
        c=points["y_0"],
        s=9,
        cmap="PuOr",
        vmin=-bound,
        vmax=bound,
        edgecolors="#8a8a8a",
        linewidths=0.3,
    )
    angle = np.linspace(-np.pi, np.pi, 361)
    axes.plot(np.cos(angle), np.sin(angle), color=INK, lw=1.2, label="probe circle x(γ)")
    anchor = anchor_angle(cfg)
    axes.plot(
        np.cos(anchor), np.sin(anchor), "o", color=INK, ms=5, label=f"anchor x₀ (γ = {anchor:.3g})"
    )
    axes.set(xlabel="x₁", ylabel="x₂", aspect="equal")
    axes.legend(loc="upper left", bbox_to_anchor=(0, 1.13), ncols=2, handlelength=1.5)
    colour_bar = figure.colorbar(dots, label="target y = x₁x₂", shrink=0.85)
    colour_bar.outline.set_visible(False)
    return figure
