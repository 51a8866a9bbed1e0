"""The kernel as an ellipse around the targets, the outputs at the two training points on their way
there, and the functions (below), for several output scales α. Time is that of each α's own
training, on a logarithmic scale. Half axes are proportional to 1/√λᵢ along the eigenvectors of the
kernel; the thin ellipse is that of the start. Centred networks of width {network.width}, step
{training.learning_rate} on mean (f(x) − y)² / α².
"""

import matplotlib.pyplot as plt

from figures.ellipses import outline
from ntkstudy.report.colours import GREEN, INK, QUANTITIES
from ntkstudy.report.plotting import WIDTH

TABLES = ("training_ellipse", "training_function")
SHOWN = 4  # scales


def draw(tables, cfg):
    """Figure, a function that shows a step, and the number of steps."""
    table, functions = tables["training_ellipse"], tables["training_function"]
    table, functions = (one[one["seed"] == 0] for one in (table, functions))
    every = sorted(table["output_scale"].unique())
    scales = every[:: max(1, (len(every) - 1) // (SHOWN - 1))][:SHOWN]
    steps = sorted(table["step"].unique())
    figure, panels = plt.subplots(2, len(scales), figsize=(WIDTH, 4.2), squeeze=False)
    centre, inputs = cfg["task"]["targets"], cfg["task"]["inputs"]
    drawn = []
    for above, below, scale in zip(*panels, scales, strict=True):
        run = table[table["output_scale"] == scale].set_index("step")
        values = functions[functions["output_scale"] == scale]
        above.plot(*outline(run.iloc[0], run.iloc[0], centre), color=QUANTITIES["start"], lw=1)
        (ring,) = above.plot([], [], color=QUANTITIES["trained"], lw=1.5)
        (path,) = above.plot([], [], color=GREEN, lw=1)
        (dot,) = above.plot([], [], "o", color=GREEN, ms=4)
        above.plot(*centre, "x", color=INK, ms=6)
        above.set(title=f"α = {scale:g}", aspect="equal", xlim=(-1, 5.5), ylim=(-4, 2.5))
        (curve,) = below.plot([], [], color=GREEN)
        below.plot(inputs, centre, "x", color=INK, ms=6)
        below.set(xlim=tuple(cfg["task"]["probe_range"]), ylim=(-4, 8), xlabel="x")
        drawn.append((run, values, ring, path, dot, curve))
    panels[0][0].set(xlabel="f(x₁)", ylabel="f(x₂)")
    panels[1][0].set_ylabel("f(x)")
    clock = figure.suptitle("")

    def show(index: int) -> None:
        step = steps[index]
        for run, values, ring, path, dot, curve in drawn:
            now = run.loc[step]
            ring.set_data(*outline(now, run.iloc[0], centre))
            path.set_data(run["f_0"].loc[:step], run["f_1"].loc[:step])
            dot.set_data([now["f_0"]], [now["f_1"]])
            function = values[values["step"] == step].sort_values("position")
            curve.set_data(function["position"], function["f_0"])
        clock.set_text(f"after {step} steps")

    return figure, show, len(steps)
