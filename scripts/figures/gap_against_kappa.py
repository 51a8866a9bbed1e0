"""Largest distance |f − f_lin| of centred networks from their linearisation on the evaluation grid
over {training.steps} steps of size {training.learning_rate} on mean (f(x) − y)² / α², against their
laziness κ at the start. One dot a network; colours: width; the output scale α falls from left to
right.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import WIDTH, spread_colours

TABLES = ("kappa_summary",)


def draw(tables, cfg):
    """One dot a network."""
    table = tables["kappa_summary"]
    figure, axes = plt.subplots(figsize=(0.7 * WIDTH, 3.4))
    for width, colour in spread_colours(table["width"]).items():
        rows = table[table["width"] == width]
        axes.plot(rows["kappa"], rows["probe_gap"], "o", ms=4, color=colour, label=f"width {width}")
    axes.set(xscale="log", yscale="log", xlabel="κ at the start", ylabel="largest |f − f_lin|")
    axes.legend()
    return figure
