"""What the kernel of many rows takes in tiles like those that were made of few."""

from collections.abc import Sequence

import pandas as pd

from ..data.tables import axes_of, with_axes


def tile_costs(
    tiles: pd.DataFrame, job_seconds: pd.Series, *, projected_rows: int, nodes: Sequence[int]
) -> pd.DataFrame:
    """Hours and gigabytes of all tiles on and above the diagonal, by the number of nodes.

    m = ceil(N / size) rows of tiles are m (m + 1) / 2 jobs, each as long as those that were
    measured, and of which a node does one at a time: ceil(jobs / nodes) rounds. A job takes what
    its tile takes, on average, and what all jobs take beside their tiles, on average: reading the
    data, as many rows as were measured, and the start of the process, where it is not forked from
    one that has loaded torch. All tiles count as whole ones, of the largest measured size.

    Args:
        tiles: table of the tiles: swept axes, row, column, seconds, bytes, entries, repeats (rows
            of the kernel for each training row: O of a block kernel).
        job_seconds: wall time of their jobs, in any order.
        projected_rows: N, training rows.
        nodes: numbers of jobs side by side.

    Returns:
        Swept axes, nodes, and: `kernel_rows`, `tile_rows` (both of the kernel), jobs,
        `seconds_per_tile`, `seconds_per_job`, `gigabytes_per_tile`, hours, gigabytes.
    """
    axes = axes_of(tiles, besides=("row", "column"))
    beside = max(0.0, float(job_seconds.mean() - tiles["seconds"].mean()))
    rows = []
    for key, cell in tiles.groupby(axes, dropna=False) if axes else [((), tiles)]:
        largest = cell.loc[cell["entries"].idxmax()]
        side, repeats = round(largest["entries"] ** 0.5), int(largest["repeats"])
        count = -(-projected_rows * repeats // side)
        jobs, seconds = count * (count + 1) // 2, float(cell["seconds"].mean())
        gigabytes = largest["bytes"] / 1e9
        tile = (projected_rows * repeats, side, jobs, seconds, seconds + beside, gigabytes)
        for number in nodes:
            hours = -(-jobs // number) * (seconds + beside) / 3600
            rows.append((*key, number, *tile, hours, jobs * gigabytes))
    columns = ["kernel_rows", "tile_rows", "jobs", "seconds_per_tile", "seconds_per_job"]
    columns += ["gigabytes_per_tile", "hours", "gigabytes"]
    table = pd.DataFrame(rows, columns=[*axes, "nodes", *columns])
    return with_axes(table, [*axes, "nodes"])
