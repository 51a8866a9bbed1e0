"""Hours that the tiles of the kernel of {tiles.projected_rows} images take on several nodes, each
of which makes one tile at a time; from the time that the jobs of this run took. Lines: rows of the
kernel in a tile, and all tiles on and above the diagonal on disk.
"""

import matplotlib.pyplot as plt

from ntkstudy.report.plotting import COLOURS, WIDTH, label_log_axis

TABLES = ("tile_costs",)


def draw(tables, cfg):
    """One line for each size of tiles."""
    table = tables["tile_costs"].sort_values("nodes")
    figure, axes = plt.subplots(figsize=(0.6 * WIDTH, 3.0))
    for colour, (side, rows) in zip(COLOURS, table.groupby("tile_rows"), strict=False):
        label = f"{side:,} rows, {rows['gigabytes'].iloc[0]:,.3g} GB"
        axes.plot(rows["nodes"], rows["hours"], "o-", color=colour, label=label)
    total = table["kernel_rows"].iloc[0]
    axes.set(xscale="log", yscale="log", xlabel="nodes", ylabel=f"hours for {total:,} rows")
    label_log_axis(axes.xaxis, table["nodes"].unique().tolist())
    label_log_axis(axes.yaxis)
    axes.legend()
    return figure
