"""Tangent kernel Θ(x₀, x(γ)) of every trained network, against the angle γ of the second input.

One panel per width. Thin lines: one seed each, solid before training (t = 0), dotted after
{training.steps} steps of gradient descent with step size {training.learning_rate} on the loss
mean (f(x) − y)². Thick line: the infinitely wide network.
"""

import matplotlib.pyplot as plt

from ntkflow.plotting import INK, LIMIT_COLOUR, WIDTH, colour_of, label_angle_axis, line_key


def draw(tables, cfg):
    """Panels of profiles, widths side by side on one vertical scale."""
    profiles, limit = tables["trained_profile"], tables["limit_profile"]
    if "width" not in profiles:
        profiles = profiles.assign(width=cfg["network"]["width"])
    colours = colour_of(profiles["width"])
    figure, panels = plt.subplots(1, len(colours), figsize=(WIDTH, 3.1), sharey=True, squeeze=False)
    last_step = profiles["step"].max()
    for axes, (width, group) in zip(panels[0], profiles.groupby("width"), strict=True):
        for (_, step), one in group.groupby(["seed", "step"]):
            style = ":" if step == last_step else "-"
            axes.plot(one["gamma"], one["theta"], style, color=colours[width], lw=0.8, alpha=0.7)
        axes.plot(limit["gamma"], limit["theta"], color=LIMIT_COLOUR, lw=2.5, zorder=3)
        axes.set_title(f"width {width}")
        label_angle_axis(axes)
        axes.set_xlabel("angle γ (radian)")
    panels[0][0].set_ylabel("kernel Θ(x₀, x(γ))")
    panels[0][0].set_ylim(bottom=0)
    key = [
        ("t = 0", {"color": INK, "lw": 0.8}),
        (f"t = {last_step}", {"color": INK, "lw": 0.8, "ls": ":"}),
        ("infinite width", {"color": LIMIT_COLOUR, "lw": 2.5}),
    ]
    figure.legend(handles=line_key(key), loc="outside upper center", ncols=3)
    return figure
