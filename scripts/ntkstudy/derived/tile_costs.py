"""What the kernel of many rows takes in tiles like those that were made of few."""

from collections.abc import Sequence

import pandas as pd

from ..data.tables import axes_of, with_axes


def tile_costs(
    tiles: pd.DataFrame, job_seconds: pd.Series, *, projected_rows: int, nodes: Sequence[int]
) -> pd.DataFrame:
    """Hours and gigabytes of all tiles on and above the diagonal, by the number of nodes.

    m = ceil(N / size) rows of tiles are m tiles on the diagonal, of which half may be made, and
    m (m - 1) / 2 beside it: jobs, each as long as the measured ones of its sort, and of which a
    node does one at a time: ceil(jobs / nodes) rounds of each sort. A job takes what its tile
    takes, on average, and what all jobs take beside their tiles, on average: reading the data, as
    many rows as were measured, and the start of the process, where it is not forked from one that
    has loaded torch. All tiles count as whole ones, of the largest measured size; those that were
    cut off at the end by what whole ones would take for as many entries.

    Args:
        tiles: table of the tiles: swept axes, row, column, seconds, bytes, entries, repeats (rows
            of the kernel for each training row: O of a block kernel).
        job_seconds: wall time of their jobs, in any order.
        projected_rows: N, training rows.
        nodes: numbers of jobs side by side.

    Returns:
        Swept axes, nodes, and: `kernel_rows`, `tile_rows` (both of the kernel), jobs,
        `seconds_per_tile` and `seconds_per_job`, means over all jobs, `gigabytes_per_tile`, hours,
        gigabytes.
    """
    axes = axes_of(tiles, besides=("row", "column"))
    beside = max(0.0, float(job_seconds.mean() - tiles["seconds"].mean()))
    rows = []
    for key, cell in tiles.groupby(axes, dropna=False) if axes else [((), tiles)]:
        largest = cell.loc[cell["entries"].idxmax()]
        side, repeats = round(largest["entries"] ** 0.5), int(largest["repeats"])
        count = -(-projected_rows * repeats // side)
        numbers = count, count * (count - 1) // 2
        seconds = _seconds(cell)
        jobs, gigabytes = sum(numbers), largest["bytes"] / 1e9
        mean = sum(n * s for n, s in zip(numbers, seconds, strict=True)) / jobs
        tile = (projected_rows * repeats, side, jobs, mean, mean + beside, gigabytes)
        for number in nodes:
            rounds = [-(-n // number) * (s + beside) for n, s in zip(numbers, seconds, strict=True)]
            rows.append((*key, number, *tile, sum(rounds) / 3600, jobs * gigabytes))
    columns = ["kernel_rows", "tile_rows", "jobs", "seconds_per_tile", "seconds_per_job"]
    columns += ["gigabytes_per_tile", "hours", "gigabytes"]
    table = pd.DataFrame(rows, columns=[*axes, "nodes", *columns])
    return with_axes(table, [*axes, "nodes"])


def _seconds(tiles: pd.DataFrame) -> list[float]:
    """Of a whole tile on the diagonal, and of one beside it; where none is, of one on it."""
    whole = tiles["entries"] == tiles["entries"].max()
    means = []
    for sort in (tiles["row"] == tiles["column"], tiles["row"] != tiles["column"]):
        some = tiles[sort & whole] if (sort & whole).any() else tiles[sort]
        if len(some):
            means.append(float((some["seconds"] / some["entries"]).mean() * tiles["entries"].max()))
    return [means[0], means[-1]]
