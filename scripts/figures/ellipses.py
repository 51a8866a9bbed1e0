"""Outputs of one network at its two training points during training (line, from 0 to the targets at
the cross) and the kernel as an ellipse around the targets, before and after training, for
centred networks f = α (h − h₀) of width {network.width}, {training.steps} steps of size
{training.learning_rate} on mean (f(x) − y)² / α². The ellipse holds the r with r' Θ r = const:
half axes proportional to 1/√λᵢ along the eigenvectors, scaled so that the initial long axis is
the same in every panel. (The source drew 1/λᵢ, and took rows of the eigenvector matrix for its
columns.)
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.colours import GREEN, INK, QUANTITIES
from ntkstudy.report.plotting import WIDTH

TABLES = ("training_ellipse",)
LONG = 2.0  # half the initial long axis, in units of the outputs


def draw(tables, cfg):
    """A panel for each output scale."""
    table = tables["training_ellipse"]
    table = table[table["seed"] == 0]
    scales = sorted(table["output_scale"].unique())
    columns = 4
    rows = -(-len(scales) // columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(WIDTH, 2.0 * rows + 0.2), sharex=True, sharey=True
    )
    for axes, scale in zip(panels.flat, scales, strict=False):
        run = table[table["output_scale"] == scale].sort_values("step")
        centre = cfg["task"]["targets"]
        first, last = run.iloc[0], run.iloc[-1]
        style = dict(color=QUANTITIES["start"], lw=1.5, label="Θ before")
        axes.plot(*outline(first, first, centre), **style)
        style = dict(color=QUANTITIES["trained"], lw=1.5, label="Θ after")
        axes.plot(*outline(last, first, centre), **style)
        axes.plot(run["f_0"], run["f_1"], ".-", color=GREEN, ms=2, lw=0.8, label="outputs")
        axes.plot(*centre, "x", color=INK, ms=6)
        axes.set(title=f"α = {scale:g}", aspect="equal")
    for axes in panels.flat[len(scales) :]:
        axes.set_axis_off()
    for axes in panels[-1]:
        axes.set_xlabel("f(x₁)")
    for axes in panels[:, 0]:
        axes.set_ylabel("f(x₂)")
    figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def outline(now, first, centre):
    """Points of the ellipse r' Theta r = const around a centre."""
    unit = LONG * np.sqrt(first["lambda_2"])
    turn = np.linspace(0, 2 * np.pi, 100)
    short, long = (unit / np.sqrt(now[f"lambda_{i}"]) for i in (1, 2))
    cosine, sine = np.cos(now["angle"]), np.sin(now["angle"])
    along, across = short * np.cos(turn), long * np.sin(turn)
    return (
        centre[0] + along * cosine - across * sine,
        centre[1] + along * sine + across * cosine,
    )
