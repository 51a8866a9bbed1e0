"""Tangent kernel Θ(x₀, x(γ)) of every trained network, against the angle γ of the second input.

One panel per cell of the sweep. Thin lines: one seed each, solid before training (t = 0), dotted
after {training.steps} steps of gradient descent with step size {training.learning_rate} on the loss
mean (f(x) − y)². Thick line: the infinitely wide network.
"""

import matplotlib.pyplot as plt

from ntkstudy.data.tables import axes_of
from ntkstudy.report.plotting import (
    INK,
    LIMIT_COLOUR,
    WIDTH,
    label_angle_axis,
    line_key,
    spread_colours,
    with_configured,
)

TABLES = ("trained_profile", "limit_profile")
COLUMNS = 4  # most panels side by side


def draw(tables, cfg):
    """Panels of profiles on one vertical scale."""
    profiles = with_configured(tables["trained_profile"], cfg, "network.width")
    limit = tables["limit_profile"]
    swept = axes_of(profiles, besides=("seed", "step", "gamma"))
    colours = spread_colours(profiles["width"])
    cells = list(profiles.groupby(swept, sort=False))
    figure, panels = _panels(len(cells))
    last_step = profiles["step"].max()
    for axes, (values, group) in zip(panels, cells, strict=True):
        cell = dict(zip(swept, values, strict=True))
        for (_, step), one in group.groupby(["seed", "step"]):
            style = ":" if step == last_step else "-"
            colour = colours[cell["width"]]
            axes.plot(one["gamma"], one["theta"], style, color=colour, lw=0.8, alpha=0.7)
        own = limit
        for name in axes_of(limit, besides=["gamma"]):
            own = own[own[name] == cell[name]]
        axes.plot(own["gamma"], own["theta"], color=LIMIT_COLOUR, lw=2.5, zorder=3)
        axes.set_title(", ".join(f"{name} {value}" for name, value in cell.items()))
        label_angle_axis(axes)
        axes.set_xlabel("angle γ (radian)")
    panels[0].set_ylim(bottom=0)
    key = [
        ("t = 0", {"color": INK, "lw": 0.8}),
        (f"t = {last_step}", {"color": INK, "lw": 0.8, "ls": ":"}),
        ("infinite width", {"color": LIMIT_COLOUR, "lw": 2.5}),
    ]
    figure.legend(handles=line_key(key), loc="outside upper center", ncols=3)
    return figure


def _panels(count):
    """A figure with so many panels, in rows of at most COLUMNS, labelled on the left."""
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    size = (WIDTH, 0.5 + 2.6 * rows)
    figure, grid = plt.subplots(rows, columns, figsize=size, sharey=True, squeeze=False)
    for row in grid:
        row[0].set_ylabel("kernel Θ(x₀, x(γ))")
    for axes in grid.flat[count:]:
        axes.remove()
    return figure, list(grid.flat[:count])
