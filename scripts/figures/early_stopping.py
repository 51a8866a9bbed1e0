"""Step of least test error on noisy targets, one dot a draw of the noise, of networks of width
{network.width} (left) and of the infinitely wide network on the same targets (right), as counts;
line: the step predicted from eigenvalues, projections and the noise's strength; shaded: a factor
of 1.5 around it. Loss mean (f(x) − y)², step {training.learning_rate}.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.colours import INK, QUANTITIES
from ntkstudy.report.plotting import WIDTH, label_log_axis

TABLES = ("theory_early_stopping",)


def draw(tables, cfg):
    """Histograms of the best steps."""
    table = tables["theory_early_stopping"]
    predicted = table["predicted"].iloc[0]
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.8), sharey=True, sharex=True)
    values = table[["measured", "limit"]].clip(lower=1).to_numpy()
    bins = np.geomspace(values.min() / 1.1, values.max() * 1.1, 25)
    for axes, column, label, colour in (
        (
            panels[0],
            "measured",
            f"networks of width {cfg['network']['width']}",
            QUANTITIES["network"],
        ),
        (panels[1], "limit", "infinite width", QUANTITIES["limit"]),
    ):
        share = table["measured_hit" if column == "measured" else "limit_hit"].mean()
        axes.hist(table[column].clip(lower=1), bins, color=colour, alpha=0.8)
        axes.axvspan(predicted / 1.5, predicted * 1.5, color=INK, alpha=0.12, lw=0, zorder=0)
        axes.axvline(predicted, color=INK, lw=1.5)
        axes.set(xscale="log", xlabel="best step", title=f"{label}: {share:.0%} within")
        label_log_axis(axes.xaxis)
    panels[0].set_ylabel("draws of the noise")
    return figure
