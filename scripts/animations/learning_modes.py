"""Networks learn the target mode by mode. Left: the target (dotted), the infinitely wide network
(grey) and one line per seed. Right: amplitude of each Fourier mode k: target (outline), mean over
seeds (bars), infinitely wide network (dash). Loss mean (f(x) − y)², step size η =
{training.learning_rate}, output scale α = {training.output_scale}; time runs on a logarithmic
scale.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.colours import LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.plotting import WIDTH, label_angle_axis, line_key

TABLES = ("training_function", "training_modes", "prediction_function", "prediction_modes")


def draw(tables, cfg):
    """Figure of the last step, a function that shows another step, and the number of steps."""
    functions, modes = tables["training_function"], tables["training_modes"]
    wide, wide_modes = tables["prediction_function"], tables["prediction_modes"]
    goal = wide[wide["step"] == 0].sort_values("gamma")
    present = np.array(cfg["task"]["modes"])
    steps = np.array(sorted(functions["step"].unique()))
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(WIDTH, 3.0), width_ratios=(3, 2), constrained_layout=True
    )
    goal_style = dict(color=QUANTITIES["target"], lw=1.4, ls=":")
    left.plot(goal["gamma"], goal["target"], **goal_style)
    runs = {seed: run for seed, run in functions.groupby("seed")}
    style = dict(color=QUANTITIES["network"], lw=0.8, alpha=0.7)
    lines = {seed: left.plot([], [], **style)[0] for seed in runs}
    (limit,) = left.plot([], [], color=LIMIT_COLOUR, lw=2.5, zorder=1)
    key = [
        ("target", goal_style),
        ("networks", style),
        ("infinite width", {"color": LIMIT_COLOUR, "lw": 2.5}),
    ]
    figure.legend(handles=line_key(key), loc="outside upper left", ncols=3)
    label_angle_axis(left)
    bound = 1.15 * goal["target"].abs().max()
    left.set(ylim=(-bound, bound), ylabel="f(x(γ))")
    place = np.arange(len(present))
    target = at_modes(wide_modes[wide_modes["step"] == 0], "target", present)
    right.bar(place, target, fill=False, edgecolor=QUANTITIES["target"], lw=1)
    bars = right.bar(place, 0 * place, color=QUANTITIES["network"], alpha=0.7)
    dashes = right.hlines(0 * target, place - 0.4, place + 0.4, color=LIMIT_COLOUR, lw=2.5)
    right.set_xticks(place, [str(mode) for mode in present])
    right.set(xlabel="Fourier mode k", ylabel="amplitude")
    clock = right.set_title("")

    def show(index: int) -> None:
        step = steps[index]
        for seed, run in runs.items():
            now = run[run["step"] == step].sort_values("gamma")
            lines[seed].set_data(now["gamma"], now["f_0"])
        now = wide[wide["step"] == step].sort_values("gamma")
        limit.set_data(now["gamma"], now["mean"])
        mean = modes[modes["step"] == step].groupby("mode", as_index=False)["amplitude"].mean()
        for bar, height in zip(bars, at_modes(mean, "amplitude", present), strict=True):
            bar.set_height(height)
        heights = at_modes(wide_modes[wide_modes["step"] == step], "amplitude", present)
        ends = zip(place, heights, strict=True)
        dashes.set_segments([[(x - 0.4, height), (x + 0.4, height)] for x, height in ends])
        clock.set_text(f"after {step} steps")

    return figure, show, len(steps)


def at_modes(rows, column, modes):
    """Values of a column at these modes."""
    return rows.set_index("mode").loc[modes, column].to_numpy()
