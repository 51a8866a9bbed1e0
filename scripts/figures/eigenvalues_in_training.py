"""The leading eigenvalues of the empirical kernel on the training set, divided by the number of
points, along training with the smallest step size: median over seeds with a band from 10 to 90 %,
one panel per width, at most eight of them from dark (largest) to light. Dashed: eigenvalues of the
infinitely wide network. Loss mean (f(x) − y)².
"""

from ntkstudy.report.plotting import INK, draw_median, few, line_key, panel_row, spread_colours

TABLES = ("training_spectrum", "limit_spectrum")


def draw(tables, cfg):
    """Eigenvalues against time, widths side by side on one vertical scale."""
    table, limit = tables["training_spectrum"], tables["limit_spectrum"]
    rate = table["learning_rate"].min()
    table = table[table["learning_rate"] == rate]
    colours, widths = spread_colours(few(table["rank"])), sorted(table["width"].unique())
    figure, panels = panel_row(len(widths), 3.2)
    for axes, width in zip(panels, widths, strict=True):
        for rank, colour in colours.items():
            rows = table[(table["width"] == width) & (table["rank"] == rank)]
            runs = rows.groupby("step")["eigenvalue"]
            draw_median(axes, runs, colour=colour, unit=rate, lw=1.2)
            wide = limit.loc[limit["rank"] == rank, "eigenvalue"].iloc[0]
            axes.axhline(wide, color=colour, ls="--", lw=0.8)
        axes.set(yscale="log", title=f"width {width}", xlabel="η × steps")
    panels[0].set_ylabel("eigenvalue of Θ/M")
    key = [
        ("in training", {"color": INK}),
        ("infinite width", {"color": INK, "ls": "--", "lw": 0.8}),
    ]
    figure.legend(handles=line_key(key), loc="outside upper center", ncols=2)
    return figure
