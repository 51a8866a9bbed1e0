"""Largest eigenvalue of the Gram matrix along training, one panel per width: median over {seeds}
networks (lines) with the middle half of them (bands); at larger widths fewer networks may have been
trained. Thin dashed lines: null model, the median without penalty times the shrinkage that the
penalty alone would cause. Step {training.learning_rate}; cross-entropy, mean over samples; kernel
averaged over outputs, not divided by n.
"""

import matplotlib.pyplot as plt

from ntkflow.plotting import INK, WIDTH, line_key, spread_colours

NAMES = {"train_points": "n", "l2": "λ (L2)", "l1": "λ (L1)"}


def draw(tables, cfg):
    """Panels side by side; with a penalty, on logarithmic axes."""
    table = tables["training_gram"]
    axis = next(name for name in NAMES if name in table)
    colours, widths = spread_colours(table[axis]), sorted(table["width"].unique())
    figure, panels = plt.subplots(1, len(widths), figsize=(WIDTH, 3.4), squeeze=False)
    for axes, width in zip(panels[0], widths, strict=True):
        cells = dict(list(table[table["width"] == width].groupby(axis)))
        free = cells[min(cells)].groupby("step")["lambda_max"].median()
        for value, rows in cells.items():
            runs = rows.groupby("step")["lambda_max"]
            low, middle, high = (runs.quantile(share) for share in (0.25, 0.5, 0.75))
            axes.plot(middle.index, middle, color=colours[value], lw=1.4)
            axes.fill_between(middle.index, low, high, color=colours[value], alpha=0.18, lw=0)
            factor = rows.groupby("step")["null_factor"].first()
            if axis != "train_points" and value > 0:
                axes.plot(factor.index, free * factor, "--", color=colours[value], lw=0.8)
        axes.set(title=f"width {width}", xlabel="epoch")
        if axis == "train_points":
            axes.set_ylim(0, None)
        else:
            axes.set(yscale="log", ylim=(0.02, 2 * free.max()))
    panels[0][0].set_ylabel("λ_max of Θ")
    key = [(f"{NAMES[axis]} = {value:g}", {"color": colour}) for value, colour in colours.items()]
    if axis != "train_points":
        key.append(("null model", {"color": INK, "ls": "--", "lw": 0.8}))
    figure.legend(handles=line_key(key), loc="outside upper center", ncols=3)
    return figure
