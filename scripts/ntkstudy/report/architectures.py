"""Small multiples, one an architecture, with the same axes."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .colours import LIMIT_COLOUR, QUANTITIES
from .intervals import draw_intervals
from .plotting import WIDTH, label_log_axis

_MOST = 4  # panels side by side whose titles and ticks can be read


def architecture_panels(table: pd.DataFrame, height: float = 1.9) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a panel for every architecture of a table, by name, in rows of at most four.

    All share both axes; panels of the last row that are left over are not drawn.
    """
    names = list(dict.fromkeys(table["architecture"]))
    rows = -(-len(names) // _MOST)
    columns = -(-len(names) // rows)
    size = (WIDTH, height * rows + 0.4)
    figure, grid = plt.subplots(
        rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False
    )
    panels = dict(zip(names, grid.flat, strict=False))
    for axes in list(grid.flat)[len(names) :]:
        axes.remove()
    for name, axes in panels.items():
        axes.set_title(name.replace("_", " "), fontsize="small")
    return figure, panels


def label_lowest(panels: Mapping[str, Axes], xlabel: str) -> None:
    """Label and numbers of the horizontal axis on the lowest panel of every column."""
    lowest: dict[int, Axes] = {}
    for axes in panels.values():
        lowest[axes.get_subplotspec().colspan.start] = axes
    for axes in lowest.values():
        axes.set_xlabel(xlabel)
        axes.tick_params(labelbottom=True)


def draw_against_width(
    table: pd.DataFrame,
    column: str,
    *,
    quantity: str,
    ylabel: str,
    power: float,
    bound: float | None = None,
) -> Figure:
    """A column against the width, both axes logarithmic: means and 95 % intervals.

    Dashed: the width to a power through the mean at the widest. Dotted: a bound.

    Args:
        table: with `architecture` and `width`.
        column: of the table.
        quantity: what the column is, which has its colour in `QUANTITIES`.
        ylabel: of the vertical axis.
        power: of the dashed line.
        bound: where the dotted line is.
    """
    table = table[np.isfinite(table[column])]
    figure, panels = architecture_panels(table)
    widths = sorted(table["width"].unique().tolist())
    for name, axes in panels.items():
        groups = table[table["architecture"] == name].groupby("width")[column]
        means, samples = groups.mean(), [sample.to_numpy() for _, sample in groups]
        style: dict[str, Any] = dict(
            marker="o", color=QUANTITIES[quantity], capsize=2, markersize=3
        )
        draw_intervals(axes, means.index, samples, "mean", **style)
        line = means.iloc[-1] * (means.index.to_numpy(float) / means.index[-1]) ** power
        axes.plot(means.index, line, "--", color=LIMIT_COLOUR, lw=1.2)
        if bound is not None:
            axes.axhline(bound, ls=":", color=LIMIT_COLOUR, lw=1.0)
        axes.set(xscale="log", yscale="log")
        label_log_axis(axes.xaxis, _few(widths))
    first = next(iter(panels.values()))
    label_log_axis(first.yaxis)
    label_lowest(panels, "width")
    figure.supylabel(ylabel, fontsize="medium")
    return figure


def _few(widths: Sequence[int]) -> list[int]:
    """Smallest, middle and largest."""
    return [widths[0], widths[len(widths) // 2], widths[-1]]
