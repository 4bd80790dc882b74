"""Small pictures side by side, one for each layer (figures 4 and B1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from poolscope.report.style import Look, colours, house_style, legend_below, own_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_COLUMNS = 6  # at most


@dataclass(frozen=True)
class Series:
    """One line in each of the pictures.

    Attributes:
        label: in the legend.
        rows: ``k`` of the picture, ``x``, ``y``; ``low`` and ``high`` for bars; ``seed`` for thin lines under the
            mean.
        look: colour, line and marker; None: thin and grey, without markers.
    """

    label: str
    rows: pd.DataFrame
    look: Look | None = None


def multiples_size(layers: int) -> tuple[float, float]:
    """Return the width and height in inches of the pictures of so many layers."""
    return 7.6, 0.75 + 1.35 * _grid(layers)[0]


def _grid(layers: int) -> tuple[int, int]:
    """Return rows and columns: as few rows as can be, evenly filled."""
    rows = math.ceil(layers / _COLUMNS)
    return rows, math.ceil(layers / rows)


def plot_multiples(
    series: Sequence[Series], ticks: Sequence[str], limits: tuple[float, float], *, title: str, ax: Axes | None = None
) -> Axes:
    """Draw a picture for each layer, all on one scale.

    Args:
        series: lines; layers are those of the first.
        ticks: names of the places x = 1, 2, …
        limits: of all vertical axes.
        title: of the whole.
        ax: where to draw (default: a new figure); the pictures are insets of it.
    """
    layers = sorted(series[0].rows["k"].unique())
    down_all, across_all = _grid(len(layers))
    with house_style():
        ax = own_axes(ax, *multiples_size(len(layers)))
        ax.set_axis_off()
        for number, k in enumerate(layers):
            across, down = number % across_all, number // across_all
            wide, high = 1 / across_all, 1 / down_all
            place = (across * wide + 0.035, 1 - (down + 0.8) * high, 0.98 * wide - 0.035, 0.62 * high)
            inset = ax.inset_axes(place)
            for each in series:
                _draw(inset, each, each.rows[each.rows["k"] == k])
            inset.set_ylim(*limits)
            inset.set_xlim(0.6, len(ticks) + 0.4)
            inset.set_xticks(range(1, len(ticks) + 1), ticks, fontsize=8)
            inset.tick_params(axis="y", labelsize=8)
            if across:
                inset.set_yticklabels([])
            inset.set_title(f"k = {k}", fontsize=9, fontweight="normal", pad=3)
        for each in series:
            ax.plot([], [], label=each.label, **_style(each.look))
        ax.set_title(title, loc="left")
        legend_below(ax, columns=3, drop=0.02)
    return ax


def _draw(ax: Axes, series: Series, rows: pd.DataFrame) -> None:
    style = _style(series.look)
    if "seed" in rows:
        for _, seed in rows.groupby("seed"):
            ax.plot(seed["x"], seed["y"], **{**style, "marker": "", "linewidth": 0.7, "alpha": 0.5})
        rows = rows.groupby("x")["y"].mean().reset_index()
    ax.plot(rows["x"], rows["y"], **style)
    if "low" in rows and rows["low"].notna().any():
        ax.fill_between(rows["x"], rows["low"], rows["high"], color=style["color"], alpha=0.2, linewidth=0)


def _style(look: Look | None) -> dict[str, Any]:
    if look is None:
        return {"color": "0.55", "linewidth": 1.2, "linestyle": ":", "marker": ""}
    return {"color": colours()[look.colour], "linestyle": look.line, "marker": look.marker, "markersize": 3.5}
