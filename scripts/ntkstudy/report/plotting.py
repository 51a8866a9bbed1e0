"""Style of the figures: colours, ink, sizes and the axes that several figures share."""

import base64
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsFloat, SupportsInt

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FixedLocator,
    LogLocator,
    NullFormatter,
    NullLocator,
    StrMethodFormatter,
)
from pandas.core.groupby import SeriesGroupBy
from PIL import Image

from ..data.storage import replacing
from ..data.tables import axes_of, with_axes
from .colours import COLOURS, INK, LIMIT_COLOUR, MOST, QUANTITIES, SCALES

WIDTH = 7.2  # inches, the report's column

_STYLE = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "figure.constrained_layout.use": True,
    "legend.frameon": False,
    "savefig.transparent": True,
    "svg.fonttype": "path",
    **{key: INK for key in ("text.color", "axes.edgecolor", "axes.labelcolor")},
    **{key: INK for key in ("xtick.color", "ytick.color")},
}


def use_style() -> None:
    """Set matplotlib to the project's style."""
    plt.rcdefaults()
    plt.rcParams.update(_STYLE)


def with_configured(table: pd.DataFrame, cfg: Mapping[str, Any], *keys: str) -> pd.DataFrame:
    """The table with an axis for each key, such as `network.width`, also where it is not swept."""
    for section, name in (key.split(".") for key in keys):
        if name not in table:
            axes = [*axes_of(table), name]
            table = with_axes(table.assign(**{name: cfg[section][name]}), axes)
    return table


def anchor_angle(cfg: Mapping[str, Any]) -> float:
    """Angle of the anchor x0 of an experiment's profile, in radians; 0 without a profile."""
    angles = [one["anchor_angle"] for one in cfg["measurements"] if one["kind"] == "profile"]
    return angles[0] if angles else 0.0


# What is swept beside the width in studies of training on digits: column to its name in legends.
TRAINING_AXES = {
    "train_points": "n",
    "l2": "l2",
    "l1": "l1",
    "dropout": "dropout",
    "normalization": "normalisation",
}


def training_colours(axis: str, table: pd.DataFrame) -> dict:
    """A colour for each value of an axis of `TRAINING_AXES`."""
    strengths = ("l1", "l2", "dropout")
    return spread_colours(table[axis], "strength" if axis in strengths else "size")


def training_key(axis: str, colours: Mapping[Any, Any]) -> list[tuple[str, dict]]:
    """(label, line style) of every value of an axis of `TRAINING_AXES`, for `line_key`."""
    number = "{}" if any(isinstance(value, str) for value in colours) else "{:g}"
    return colour_key(f"{TRAINING_AXES[axis]} = {number}", colours)


def spread_colours(values: Iterable, scale: str = "size") -> dict:
    """A colour for each distinct value of an ordered axis, dark to light in sorted order.

    Args:
        values: of the axis.
        scale: a name of `SCALES`.
    """
    name, first, last = SCALES[scale]
    distinct = sorted(set(values))
    shades = plt.get_cmap(name)(np.linspace(first, last, len(distinct)))
    return dict(zip(distinct, shades, strict=True))


def few(values: Iterable, most: int = MOST) -> list:
    """Distinct values in sorted order, the ends and evenly spread others where there are more."""
    distinct = sorted(set(values))
    if len(distinct) <= most:
        return distinct
    return [
        distinct[place] for place in np.linspace(0, len(distinct) - 1, most).round().astype(int)
    ]


def panel_row(count: int, height: float, **shared: bool) -> tuple[Figure, list[Axes]]:
    """A figure of that height in inches with panels side by side on one vertical scale."""
    size = (WIDTH, height)
    figure, panels = plt.subplots(1, count, figsize=size, sharey=True, squeeze=False, **shared)
    return figure, list(panels[0])


def label_log_axis(axis: Axis, ticks: Sequence[SupportsFloat] | None = None) -> None:
    """Plain numbers on a logarithmic axis: round ones, more within a decade, or the given ticks."""
    low, high = axis.get_view_interval()
    enough = (1,) if high > 1000 * low else (1, 2, 5)
    round_numbers = enough if high > 20 * low else (1, 1.5, 2, 3, 4, 5, 6, 8)
    axis.set_major_locator(
        LogLocator(subs=round_numbers, numticks=20) if ticks is None else FixedLocator(ticks)
    )
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())


def label_decades(axis: Axis) -> None:
    """Plain numbers at 1, 2 and 5 of each decade of a logarithmic axis, bare ticks between."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def save_figure(figure: Figure, svg: str | Path, png: str | Path, *, name: str) -> None:
    """Write a figure as SVG, for the report, and PNG; equal figures give equal files."""
    with replacing(svg) as temporary, plt.rc_context({"svg.hashsalt": name}):
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
    with replacing(png) as temporary:
        figure.savefig(temporary, format="png", dpi=150, transparent=False)
    plt.close(figure)


def save_animation(
    figure: Figure, show: Callable[[int], None], count: int, webp: str | Path, frames: str | Path
) -> None:
    """Write an animation as WebP, and its frames as a list of data URIs in JSON, for the report.

    Args:
        figure: what is drawn.
        show: changes the figure to frame 0, 1, ...
        count: number of frames.
        webp: the animation, played in a loop with a pause at its end.
        frames: the JSON file.
    """
    images, links = [], []
    for index in range(count):
        show(index)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=100, transparent=False)
        images.append(Image.open(drawn).convert("RGB"))
        packed = io.BytesIO()
        images[-1].save(packed, format="WEBP", quality=60)
        links.append(f"data:image/webp;base64,{base64.b64encode(packed.getvalue()).decode()}")
    plt.close(figure)
    durations = [120] * (count - 1) + [2000]  # milliseconds
    with replacing(webp) as temporary:
        rest = dict(save_all=True, append_images=images[1:], duration=durations, loop=0)
        images[0].save(temporary, format="WEBP", quality=60, **rest)
    with replacing(frames) as temporary:
        temporary.write_text(json.dumps(links))


def label_angle_axis(axes: Axes) -> None:
    """Ticks of an angle gamma in [-pi, pi] at multiples of pi / 2."""
    axes.set_xlim(-np.pi, np.pi)
    axes.set_xticks(np.pi * np.array([-1, -0.5, 0, 0.5, 1]), ["−π", "−π/2", "0", "π/2", "π"])
    axes.set_xlabel("angle γ of the input (radian)")


def published(cfg: Mapping[str, Any], name: str) -> tuple[list, list]:
    """Where the experiment's source gives a number, and the numbers; two empty lists for none."""
    pairs = cfg["published"].get(name, [])
    return [where for where, _ in pairs], [value for _, value in pairs]


def line_key(labels: Sequence[tuple[str, dict]]) -> list[Line2D]:
    """Handles of a legend from (label, line style) pairs."""
    return [Line2D([], [], label=label, **style) for label, style in labels]


def colour_key(label: str, colours: Mapping[Any, Any]) -> list[tuple[str, dict]]:
    """Pairs for `line_key`, one a colour, with its value in the braces of the label."""
    return [(label.format(value), {"color": colour}) for value, colour in colours.items()]


def draw_functions(axes: Axes, table: pd.DataFrame, *, width: SupportsInt) -> None:
    """The functions of all networks of a width on the line, thin."""
    rows = table[table["width"] == width]
    lines = rows.pivot(index="position", columns="seed", values="f_0")
    axes.plot(lines.index, lines, color=QUANTITIES["network"], lw=0.5, alpha=0.4)
    axes.set(title=f"width {width}, {lines.shape[1]} networks", xlabel="x")


def draw_spread(
    axes: Axes, table: pd.DataFrame, along: str, column: str, *, colour: Any, label: str = ""
) -> None:
    """Median over seeds of a column against an axis, a band from 10 to 90 %, a dot a seed."""
    table = table[np.isfinite(table[column])]
    axes.plot(table[along], table[column], ".", color=colour, ms=3, alpha=0.4)
    draw_median(axes, table.groupby(along)[column], "o-", colour=colour, ms=4, label=label)


def draw_median(
    axes: Axes,
    groups: SeriesGroupBy,
    style: str = "-",
    *,
    colour: Any,
    shares: tuple[float, float] = (0.1, 0.9),
    unit: float = 1.0,
    along: SeriesGroupBy | None = None,
    **line: Any,
) -> None:
    """Median of each group against its key times a unit, and a band between two quantiles.

    Args:
        axes: to draw in.
        groups: rows by key.
        style: of the line.
        colour: of line and band.
        shares: of the rows that lie below the band, and below its upper end.
        unit: of the keys.
        along: another column in the same groups, whose medians take the place of their keys.
        **line: other properties of the line.
    """
    median, (low, high) = groups.median(), (groups.quantile(share) for share in shares)
    places = unit * (median.index if along is None else along.median()).to_numpy()
    axes.fill_between(places, low, high, color=colour, alpha=0.14, lw=0)
    axes.plot(places, median, style, color=colour, **line)


def draw_means(axes: Axes, table: pd.DataFrame, column: str, *, colour: Any, label: str) -> None:
    """A column against the width: a point a network, a line through the means."""
    means = table.groupby("width")[column].mean()
    axes.plot(table["width"], table[column], "o", ms=3.5, alpha=0.4, color=colour)
    axes.plot(means.index, means, color=colour, label=label)


def draw_inverse_root(axes: Axes, table: pd.DataFrame, column: str) -> None:
    """Dashed: width to the power -1/2 through a column's mean at the smallest width."""
    means = table.groupby("width")[column].mean()
    line = means.iloc[0] * np.sqrt(means.index[0] / means.index)
    axes.plot(means.index, line, "--", color=LIMIT_COLOUR, label="width$^{-1/2}$")


def scale_width_axes(axes: Axes, widths: Iterable[int], *, ylabel: str) -> None:
    """Logarithmic axes, with a tick at every width."""
    axes.set(xscale="log", yscale="log", xlabel="width", ylabel=ylabel)
    label_log_axis(axes.xaxis, sorted(set(widths)))
    label_log_axis(axes.yaxis)
