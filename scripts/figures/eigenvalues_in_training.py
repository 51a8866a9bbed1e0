"""The leading eigenvalues of the empirical kernel on the training set, divided by the number of
points, along training with the smallest step size: median over seeds, one panel per width, from
dark (largest) to light. Dashed: eigenvalues of the infinitely wide network. Loss mean (f(x) − y)².
"""

from ntkstudy.report.plotting import INK, line_key, panel_row, spread_colours

TABLES = ("training_spectrum", "limit_spectrum")


def draw(tables, cfg):
    """Eigenvalues against time, widths side by side on one vertical scale."""
    table, limit = tables["training_spectrum"], tables["limit_spectrum"]
    rate = table["learning_rate"].min()
    table = table[table["learning_rate"] == rate]
    colours, widths = spread_colours(table["rank"]), sorted(table["width"].unique())
    figure, panels = panel_row(len(widths), 3.2)
    for axes, width in zip(panels, widths, strict=True):
        medians = table[table["width"] == width].groupby(["rank", "step"])["eigenvalue"].median()
        for rank, run in medians.groupby(level="rank"):
            steps = run.index.get_level_values("step")
            axes.plot(rate * steps, run, color=colours[rank], lw=1.2)
            wide = limit.loc[limit["rank"] == rank, "eigenvalue"].iloc[0]
            axes.axhline(wide, color=colours[rank], ls="--", lw=0.8)
        axes.set(yscale="log", title=f"width {width}", xlabel="η × steps")
    panels[0].set_ylabel("eigenvalue of Θ/M")
    key = [
        ("in training", {"color": INK}),
        ("infinite width", {"color": INK, "ls": "--", "lw": 0.8}),
    ]
    figure.legend(handles=line_key(key), loc="outside upper center", ncols=2)
    return figure
