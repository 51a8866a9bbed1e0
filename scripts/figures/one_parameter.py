"""Model with one weight, f = α h(w), trained on one point with target {task.targets}. Left: f
(solid) and its tangent (dashed) around w₀ for three scales α. Middle: their losses (f − y)².
Right: distance of the minimiser from w₀ and that of the tangent's.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import QUANTITIES
from ntkstudy.report.plotting import WIDTH, spread_colours

TABLES = ("theory_one_parameter_curves", "theory_one_parameter")


def draw(tables, cfg):
    """Functions, losses, distances."""
    curves, ends = tables["theory_one_parameter_curves"], tables["theory_one_parameter"]
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(WIDTH, 3.0))
    colours = spread_colours(curves["output_scale"], "strength")
    tangent = QUANTITIES["linearized"]
    for alpha, rows in curves.groupby("output_scale"):
        for axes, name in ((left, ""), (middle, "loss")):
            solid, dashed = (name, f"tangent_{name}") if name else ("function", "tangent")
            axes.plot(
                rows["shift"], rows[solid], color=colours[alpha], lw=1.4, label=f"α = {alpha:g}"
            )
            axes.plot(rows["shift"], rows[dashed], "--", color=tangent, lw=1.4, zorder=3)
    left.axhline(cfg["task"]["targets"][0], color=QUANTITIES["target"], lw=0.8)
    left.set(xlabel="α (w − w₀)", ylabel="f", ylim=(-3, 9))
    middle.set(xlabel="α (w − w₀)", ylabel="loss (f − y)²", ylim=(0, 20))
    left.legend(fontsize=8)
    ends = ends.sort_values("output_scale")
    scales, style = ends["output_scale"], dict(color=QUANTITIES["movement"], ms=4, label="model")
    right.plot(scales, ends["lazy_distance"], "--", color=tangent, label="tangent")
    right.plot(scales, ends["distance"], "o", **style)
    right.set(xscale="log", yscale="log", xlabel="output scale α", ylabel="|w* − w₀|")
    right.legend(fontsize=8)
    return figure
