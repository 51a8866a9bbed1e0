"""What a large kernel in tiles takes, projected from the tiles of a small one."""

from collections.abc import Sequence

import pandas as pd

from ..data.tables import axes_of, with_axes


def tile_costs(
    tiles: pd.DataFrame,
    job_seconds: pd.Series,
    *,
    projected_rows: int,
    projected_sizes: Sequence[int],
    nodes: Sequence[int],
) -> pd.DataFrame:
    """Hours and gigabytes of all tiles on and above the diagonal, by their size and the nodes.

    A tile of e entries takes s + r e seconds: s is what a job took beside its tile (the start of
    its process and reading the data), the median difference; r the seconds per entry of all tiles
    together. m = ceil(N / size) rows of tiles are m (m + 1) / 2 jobs, of which each node does one
    at a time: ceil(jobs / nodes) rounds. All tiles count as whole ones.

    Args:
        tiles: table of the tiles: swept axes, row, column, seconds, bytes, entries, repeats (rows
            of the kernel for each training row: O of a block kernel).
        job_seconds: wall time of their jobs.
        projected_rows: N, training rows.
        projected_sizes: training rows along the side of a tile.
        nodes: numbers of jobs side by side.

    Returns:
        Swept axes, size, nodes, and: `kernel_rows`, tiles, `seconds_per_tile`,
        `gigabytes_per_tile`, hours, gigabytes.
    """
    axes, rows = axes_of(tiles, besides=("row", "column")), []
    start = max(0.0, float(job_seconds.median() - tiles["seconds"].median()))
    for key, cell in tiles.groupby(axes, dropna=False) if axes else [((), tiles)]:
        total = cell[["seconds", "bytes"]].sum() / cell["entries"].sum()
        repeats = int(cell["repeats"].iloc[0])
        for size in projected_sizes:
            entries, count = (size * repeats) ** 2, -(-projected_rows // size)
            jobs = count * (count + 1) // 2
            seconds, bytes_ = start + entries * total["seconds"], entries * total["bytes"]
            for number in nodes:
                hours = -(-jobs // number) * seconds / 3600
                sizes = (size, number, projected_rows * repeats, jobs)
                rows.append((*key, *sizes, seconds, bytes_ / 1e9, hours, jobs * bytes_ / 1e9))
    names = ["kernel_rows", "tiles", "seconds_per_tile", "gigabytes_per_tile", "hours", "gigabytes"]
    table = pd.DataFrame(rows, columns=[*axes, "size", "nodes", *names])
    return with_axes(table, [*axes, "size", "nodes"])
