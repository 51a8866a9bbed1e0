"""Centred networks of width {network.width}, f = α (h − h₀), after {training.steps} steps of size
{training.learning_rate} on mean (f(x) − y)² / α². Left: relative change of the kernel. Right:
α ‖θ_T − θ₀‖, constant where training is lazy. Dots: seeds; lines: medians; bands: 10 to 90 % of the
seeds; crosses: values of the source.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import QUANTITIES
from ntkstudy.report.plotting import WIDTH, draw_spread, label_log_axis, published

TABLES = ("trained_kernel", "trained_movement")


def draw(tables, cfg):
    """Kernel on the left, weights on the right."""
    kernel, movement = tables["trained_kernel"], tables["trained_movement"]
    kernel, movement = (table[table["step"] > 0] for table in (kernel, movement))
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    style = dict(colour=QUANTITIES["drift"], label="measured")
    draw_spread(left, kernel, "output_scale", "drift", **style)
    marks = published(cfg, "kernel_change")
    left.plot(*marks, "x", color=QUANTITIES["published"], mew=2, label="published")
    left.set(ylabel="‖Θ_T − Θ₀‖ / ‖Θ₀‖")
    draw_spread(right, movement, "output_scale", "scaled", colour=QUANTITIES["movement"])
    right.set(ylabel="α ‖θ_T − θ₀‖")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="output scale α")
    label_log_axis(right.yaxis)
    left.legend()
    return figure
