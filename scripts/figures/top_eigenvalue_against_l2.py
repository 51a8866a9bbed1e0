"""Largest eigenvalue of the Gram matrix after {training.steps} epochs against the strength l2 of
L2. Top: mean and standard deviation over {seeds} networks (points), the null model λ_max(0) keepᵗ²
of weights that only shrink (lines), and the published values (crosses). Bottom: how far the
eigenvalue lies above the null model, network by network; 0 where the decay explains everything.
Double: the source's decay, keep = 1 − 1.02 l2; once: keep = 1 − 2η l2, η =
{training.learning_rate}. Cross-entropy, mean over samples.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.colours import COLOURS, INK, QUANTITIES
from ntkstudy.report.plotting import WIDTH, published

TABLES = ("training_gram",)
NONE = 2e-5  # where l2 = 0 is drawn
RULES = {
    "seed": "decay twice, as the source",
    "coupled": "decay once",
    "decoupled": "decay beside the step",
}


def draw(tables, cfg):
    """Eigenvalues and null model above, their ratio below."""
    table = tables["training_gram"]
    last = table[(table["step"] == table["step"].max()) & (table["l2"] < 1)]
    figure, (top, ratio) = plt.subplots(
        2, 1, figsize=(0.75 * WIDTH, 4.4), sharex=True, height_ratios=(3, 2)
    )
    for colour, (decay, rows) in zip(COLOURS, last.groupby("decay", sort=False), strict=False):
        free = rows[rows["l2"] == 0].set_index("seed")["lambda_max"]
        excess = rows["over_null"] / rows["seed"].map(free)
        cells = rows.assign(excess=excess).groupby("l2")
        mean, spread = cells["lambda_max"].mean(), cells["lambda_max"].std()
        places = mean.index.where(mean.index > 0, NONE)
        top.errorbar(places, mean, spread, fmt="o", color=colour, capsize=3, label=RULES[decay])
        top.plot(places, free.mean() * cells["null_factor"].first(), color=colour, lw=0.9)
        excess, error = 100 * (cells["excess"].mean() - 1), 100 * cells["excess"].std()
        ratio.errorbar(places, excess, error, fmt="o", color=colour, capsize=3)
    strengths, values = published(cfg, "lambda_max")
    places = [l2 or NONE for l2 in strengths]
    top.plot(places, values, "x", color=QUANTITIES["published"], ms=8, label="published")
    top.set(xscale="log", yscale="log", ylabel="λ_max of Θ")
    top.set_ylim(last.loc[last["lambda_max"] > 0, "lambda_max"].min() / 3, 40)
    top.legend()
    ratio.axhline(0, color=INK, lw=0.8, ls=":")
    ratio.set(xlabel="strength l2", ylabel="above null (%)")
    names = sorted(last["l2"].unique())
    ratio.set_xticks([l2 or NONE for l2 in names], [f"{l2:g}" for l2 in names])
    ratio.minorticks_off()
    return figure
