"""The spatial share of each layer's invariance, as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolscope.report.choose import amplitudes, beyond_input, in_pixels, models, varying
from poolscope.report.style import colours, house_style, legend_below, own_axes, short, tell_apart

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

#: Groups of bars are told apart without colour too, by how far they are filled.
_FILLS = (0.8, 0.4, 0.0)
#: Bars beyond are cut there and their value written beside: one layer of no consequence would flatten the others.
_VIEW = (-1.5, 2.5)


def plot_shares(shares: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the spatial share of each layer as a bar with its 95 % interval; layers from the input down.

    Lines mark 0 (nothing is lost when channels are shuffled apart: no spatial pooling) and 1 (all of it). A cross in
    place of a bar: nothing can be said. Bars beyond -1.5 and 2.5 are cut, with their value beside them.

    Args:
        shares: columns ``layer``, ``position``, ``spatial_share``, ``spatial_share_low`` and ``_high``; several
            ``model`` and ``displacement`` are bars beside each other. Rows of ``kind`` input are left out.
        ax: where to draw (default: a new figure, as tall as the layers need).

    Raises:
        ValueError: no rows but the input's.
    """
    shares = beyond_input(shares)
    if shares.empty:
        raise ValueError("shares must have a row for a layer beyond the input, the input has none; got none")
    groups = _groups(shares)
    layers = list(dict.fromkeys(shares.sort_values("position", kind="stable")["layer"]))
    with house_style():
        ax = own_axes(ax, *shares_size(shares))
        thick = 0.8 / len(groups)
        for number, (label, rows) in enumerate(groups):
            own = rows.set_index("layer").reindex(layers)
            heights = [row + (number - (len(groups) - 1) / 2) * thick for row in range(len(layers))]
            _bars(ax, heights, own, thick, number, label)
        ax.axvline(0, color="0.5", linewidth=1.2)
        ax.axvline(1, color="0.5", linewidth=1.2, linestyle="--")
        ax.set_yticks(range(len(layers)), tell_apart(layers), fontsize=9 if len(layers) < 30 else 8)
        ax.set_ylim(len(layers) - 0.4, -0.6)
        ax.grid(False, axis="y")
        low, high = _reach(shares)
        ax.set_xlim(low, high)
        ax.set_xlabel("spatial share (0: none, 1: all)")
        ax.set_title("Spatial share of the invariance", loc="left")
        if ax.get_legend_handles_labels()[1]:
            legend_below(ax)
    return ax


def shares_size(shares: pd.DataFrame) -> tuple[float, float]:
    """Return the width and height in inches in which every layer's bars can be read."""
    shares = beyond_input(shares)
    layers, groups = shares["layer"].nunique(), len(_groups(shares))
    return 4.8, 1.5 + layers * max(0.17, min(0.34, 0.12 + 0.09 * groups)) + 0.2 * (groups // 2)


def _groups(shares: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return label and rows of every model and amplitude."""
    found = []
    for model in models(shares):
        own = shares[shares["model"] == model] if model else shares
        for amplitude in amplitudes(own):
            rows = own
            for name, value in amplitude.items():
                rows = rows[rows[name] == value]
            parts = [short(model, 22)] if len(models(shares)) > 1 else []
            parts += [in_pixels(varying(shares, amplitude))]
            found.append((", ".join(filter(None, parts)), rows))
    return found


def _bars(ax: Axes, heights: list[float], rows: pd.DataFrame, thick: float, number: int, label: str) -> None:
    import numpy as np
    from matplotlib.colors import to_rgba

    colour = colours()[number % len(colours())]
    value = rows["spatial_share"].to_numpy(float)
    at = np.array(heights)
    known = np.isfinite(value)
    filled = to_rgba(colour, _FILLS[number % len(_FILLS)])
    style: Any = {"height": thick * 0.86, "facecolor": filled, "edgecolor": colour, "linewidth": 0.8}
    ax.barh(at[known], np.clip(value[known], *_VIEW), label=label or None, **style)
    reach = np.abs(rows[["spatial_share_low", "spatial_share_high"]].to_numpy(float).T - value)
    drawn = known & np.isfinite(reach).all(axis=0) & (value >= _VIEW[0]) & (value <= _VIEW[1])
    text = _ink()
    ax.errorbar(
        value[drawn], at[drawn], xerr=reach[:, drawn], fmt="none", ecolor=text, elinewidth=1, capsize=2, alpha=0.85
    )
    for x, y in zip(value[known & ~drawn], at[known & ~drawn], strict=True):
        if not _VIEW[0] <= x <= _VIEW[1]:
            mark, end, side = ("◂", _VIEW[0], "right") if x < 0 else ("▸", _VIEW[1], "left")
            ax.text(end, y, f"{mark} {x:.1f}", ha=side, va="center", fontsize=7)
    missing = at[~known]
    label = "nothing can be said" if number == 0 and len(missing) else ""
    look: Any = {"linestyle": "none", "marker": "x", "markersize": 4, "alpha": 0.7}
    ax.plot([0.04] * len(missing), missing, color=text, label=label or "_", **look)


def _reach(shares: pd.DataFrame) -> tuple[float, float]:
    """Return the limits of the axis: 0 and 1 always in view, the intervals as far as ``_VIEW``, and a margin."""
    import numpy as np

    ends = shares[["spatial_share", "spatial_share_low", "spatial_share_high"]].to_numpy(float)
    left, right = float(np.nanmin([0.0, *ends.flat])), float(np.nanmax([1.0, *ends.flat]))
    left, right = max(left, _VIEW[0]), min(right, _VIEW[1])
    return left - (0.4 if left == _VIEW[0] else 0.08), right + (0.4 if right == _VIEW[1] else 0.08)


def _ink() -> str:
    import matplotlib as mpl

    return str(mpl.rcParams["text.color"])
