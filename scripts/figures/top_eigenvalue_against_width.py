"""The Gram matrix on {task.train_points} digits at initialisation, by width: {initializations}
networks each (boxes: quartiles; whiskers: 95 % of the networks). Left: largest eigenvalue; crosses:
the published values, one seed each. Middle: its share of the trace. Right: its standard deviation
over networks (bars: 95 % intervals), and width to the power −1/2 through the last point (dashed).
Grey: infinite width.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.colours import INK, LIMIT_COLOUR, QUANTITIES
from ntkstudy.report.intervals import draw_intervals
from ntkstudy.report.plotting import WIDTH, label_log_axis, published

TABLES = ("initialization_gram", "limit_gram")


def draw(tables, cfg):
    """Boxes, boxes, and the fall of the spread."""
    table, limit = tables["initialization_gram"], tables["limit_gram"].iloc[0]
    widths = sorted(table["width"].unique())
    figure, (top, share, spread) = plt.subplots(1, 3, figsize=(WIDTH, 3.2))
    for axes, column in ((top, "lambda_max"), (share, "share")):
        samples = [table.loc[table["width"] == width, column] for width in widths]
        axes.boxplot(
            samples, whis=(2.5, 97.5), showfliers=False, widths=0.6,
            medianprops={"color": INK},
            **{f"{part}props": {"color": QUANTITIES[column]} for part in ("box", "whisker", "cap")},
        )  # fmt: skip
        axes.axhline(limit[column], color=LIMIT_COLOUR, lw=1.8, zorder=0)
        axes.set_xticks(range(1, len(widths) + 1), [str(width) for width in widths], fontsize=8)
        axes.set_xlabel("width")
        axes.set_ylim(0, None)
    marks = zip(*published(cfg, "lambda_max"), strict=True)
    seen = [(widths.index(width) + 1, value) for width, value in marks if width in widths]
    top.plot(
        *np.reshape(seen, (-1, 2)).T, "x", color=QUANTITIES["published"], ms=8, label="published"
    )
    top.set_ylabel("λ_max of Θ")
    share.set_ylabel("λ_max / trace")
    top.legend()
    groups = table.groupby("width")["lambda_max"]
    stds, samples = groups.std(), [sample.to_numpy() for _, sample in groups]
    style = dict(fmt="o", ms=5, capsize=2, color=QUANTITIES["lambda_max"])
    draw_intervals(spread, stds.index, samples, "std", **style)
    line = stds.iloc[-1] * (stds.index / stds.index[-1]) ** -0.5
    spread.plot(stds.index, line, "--", color=LIMIT_COLOUR, lw=1)
    spread.set(xscale="log", yscale="log", xlabel="width", ylabel="standard deviation of λ_max")
    label_log_axis(spread.xaxis, widths)
    spread.tick_params(axis="x", labelsize=8)
    label_log_axis(spread.yaxis)
    return figure
