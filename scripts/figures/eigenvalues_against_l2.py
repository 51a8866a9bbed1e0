"""Eigenvalues of the Gram matrix after {training.steps} epochs with the source's double decay.
Left: all of them by the strength l2 of L2, first network (at l2 = 1 all are below 1e-13).
Middle: cumulative distribution. Right: the same with the eigenvalues divided by the trace, where
the lines lie on each other. Kernel averaged over outputs, not divided by n; cross-entropy, mean
over samples.
"""

import matplotlib.pyplot as plt
import numpy as np

from ntkstudy.report.plotting import WIDTH, colour_key, line_key, spread_colours

TABLES = ("training_gram_spectrum",)
FLOOR = 1e-13


def draw(tables, cfg):
    """Strips of eigenvalues and their distributions."""
    table = tables["training_gram_spectrum"]
    last = table[(table["step"] == table["step"].max()) & (table["decay"] == "seed")]
    first = last[last["seed"] == 0]
    colours = spread_colours(first["l2"], "strength")
    figure, (strip, raw, shared) = plt.subplots(1, 3, figsize=(WIDTH, 3.2), sharey=False)
    for place, (l2, rows) in enumerate(first.groupby("l2")):
        kept = rows.loc[rows["eigenvalue"] > FLOOR, "eigenvalue"]
        strip.plot(np.full(len(kept), place), kept, "_", color=colours[l2], ms=14, alpha=0.7)
        for axes, column in ((raw, "eigenvalue"), (shared, "share")):
            values = np.sort(rows[column])
            if rows["eigenvalue"].max() > FLOOR:
                height = np.arange(1, len(values) + 1) / len(values)
                axes.step(values, height, where="post", color=colours[l2], lw=1.3)
    strip.set(yscale="log", xlabel="strength l2", ylabel="eigenvalue of Θ")
    strip.set_xticks(range(len(colours)), [f"{l2:g}" for l2 in colours], rotation=45)
    strip.set_xlim(-0.6, len(colours) - 0.4)
    raw.set(
        xscale="log", xlim=(FLOOR, None), xlabel="eigenvalue", ylabel="share of eigenvalues below"
    )
    shared.set(xscale="log", xlim=(1e-6, None), xlabel="eigenvalue / trace")
    shown = first.loc[first["eigenvalue"] > FLOOR, "l2"]
    key = {l2: colour for l2, colour in colours.items() if l2 in set(shown)}
    handles = line_key(colour_key("l2 = {:g}", key))
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure
