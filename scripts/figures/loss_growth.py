"""Largest loss in short trainings over the first one, against the step as a multiple of the step
2/λ_max that should be the largest stable one: squared loss with λ_max of its Hessian (Gauss-Newton
part), cross-entropy with that of its own, cross-entropy with that of the kernel over n, without the
softmax's weights (all three with a large output scale, which keeps the kernel constant; the
cross-entropy less its minimum, with targets that are 99 % uniform), and the squared loss of the
networks as they are. One point a network, {initializations} networks of width
{network.width}; lines: medians, bands from 10 to 90 %. 1: the loss never rises.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import COLOURS, INK, WIDTH, draw_median

TABLES = ("initialization_stability",)
CASES = {
    "mse": "squared loss",
    "cross_entropy": "cross-entropy, weighted kernel",
    "unweighted": "cross-entropy, kernel alone",
    "network": "squared loss, kernel free to change",
}


def draw(tables, cfg):
    """Growth of the loss on both sides of the step."""
    table = tables["initialization_stability"]
    factors = sorted(table["factor"].unique())
    figure, axes = plt.subplots(figsize=(0.75 * WIDTH, 3.3))
    for shift, colour, (name, label) in zip(
        (-0.015, -0.005, 0.005, 0.015), COLOURS, CASES.items(), strict=False
    ):
        places = table["factor"] + shift
        axes.plot(places, table[name], ".", color=colour, alpha=0.5)
        draw_median(axes, table[name].groupby(places), colour=colour, lw=1.2, label=label)
    axes.axvline(1, color=INK, lw=0.8, ls=":")
    axes.set(yscale="log", xlabel="step × λ_max / 2", ylabel="largest loss / first loss")
    axes.set_xticks(factors, [f"{factor:g}" for factor in factors])
    axes.legend()
    return figure
