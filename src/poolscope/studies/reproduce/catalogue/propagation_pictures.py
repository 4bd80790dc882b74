"""Pictures of active pixels on their way through a network of homogeneous filters (figure 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolscope.report.scale import read_as_numbers
from poolscope.report.style import MARKERS, colours, house_style, is_dark, legend_below, own_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap


def plot_hidden_layers(hidden: pd.DataFrame, *, counts: bool = False, ax: Axes | None = None) -> Axes:
    """Draw each layer as a row of pixels, the input on top, with the last layer's receptive field.

    Args:
        hidden: a row a neuron: ``k``, ``start`` and ``pixels`` (of the input), ``value``, ``A``.
        counts: whether values are numbers of active pixels, each with a shade of its own, and A is a neuron's patch;
            else A is a standard deviation, marked to either side of the first peak.
        ax: where to draw (default: a new figure).
    """
    from matplotlib.patches import Rectangle

    last, most = int(hidden["k"].max()), float(hidden["value"].max())
    shades = _shades()
    with house_style():
        ax = own_axes(ax)
        for row in hidden.to_dict("records"):
            corner, wide, shade = (row["start"] - 0.5, row["k"] - 0.42), row["pixels"], shades(row["value"] / most)
            ax.add_patch(Rectangle(corner, wide, 0.84, facecolor=shade, edgecolor="0.6", linewidth=0.3))
        rows = hidden[hidden["k"] == last]
        field = float(rows["A"].iloc[0])
        if counts:
            start = float(rows.sort_values("value")["start"].iloc[-1])
            frame = Rectangle((start - 0.5, last - 0.42), field, 0.84, fill=False, edgecolor=colours()[1], linewidth=2)
            ax.add_patch(frame)
        else:
            peak = float(hidden.loc[(hidden["k"] == 0) & (hidden["value"] > 0), "start"].min())
            ax.plot([peak - field, peak + field], [last + 0.62] * 2, color=colours()[1], linewidth=2.5, marker="|")
        ax.set_xlim(-0.7, float((rows["start"] + rows["pixels"]).max()) - 0.3)
        ax.set_ylim(last + 0.9, -0.6)
        ax.set_yticks(range(last + 1), ["input", *map(str, range(1, last + 1))])
        ax.grid(False)
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        ax.set_xlabel("pixel of the input")
        ax.set_ylabel("layer k")
        ax.set_title("s = F = 2: counting" if counts else "s = 1, F = 5: diffusion", loc="left")
    return ax


def plot_widths(widths: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw receptive fields against the layer, both logarithmic; grey lines are the laws.

    Args:
        widths: ``filter_size``, ``stride``, ``k``, ``A``, ``law``.
        ax: where to draw (default: a new figure).
    """
    with house_style():
        ax = own_axes(ax)
        for number, ((stride, size), rows) in enumerate(widths.groupby(["stride", "filter_size"])):
            ax.plot(rows["k"], rows["law"], color="0.5", linewidth=1.2, zorder=1)
            ax.plot(
                rows["k"], rows["A"], color=colours()[number], linestyle="none", marker=MARKERS[number], markersize=5,
                label=f"F = {size}, stride {stride}",
            )  # fmt: skip
        for axis, scale in ((ax.xaxis, ax.set_xscale), (ax.yaxis, ax.set_yscale)):
            scale("log")
            read_as_numbers(axis)
        ax.set_xlabel("layer k")
        ax.set_title("receptive field A (pixels)", loc="left")
        legend_below(ax)
    return ax


def plot_distances(propositions: pd.DataFrame, *, tolerance: float = 0.02, ax: Axes | None = None) -> Axes:
    """Draw the distance of M^k δ from two Gaussians against the layer, logarithmic.

    Args:
        propositions: tables of ``proposition_1`` with ``filter_size``.
        tolerance: where a grey line stands.
        ax: where to draw (default: a new figure).
    """
    with house_style():
        ax = own_axes(ax)
        ax.axhline(tolerance, color="0.5", linewidth=1)
        for number, (size, rows) in enumerate(propositions.groupby("filter_size")):
            lines = (("distance_true", "-", "true variance"), ("distance_printed", ":", "as printed"))
            for column, line, words in lines:
                ax.plot(
                    rows["k"], rows[column], color=colours()[number], linestyle=line, marker=MARKERS[number],
                    markersize=4, linewidth=1.7, label=f"F = {size}, {words}",
                )  # fmt: skip
        ax.set_yscale("log")
        read_as_numbers(ax.yaxis)
        ax.set_xlabel("layer k")
        ax.set_title("distance from a Gaussian", loc="left")
        legend_below(ax)
    return ax


def _shades() -> Colormap:
    """Return a map from the ground (0) through blue (1/2) to what stands out most (1)."""
    from matplotlib.colors import LinearSegmentedColormap

    shown = ("#262b32", "#2f7db5", "#cfe8ff") if is_dark() else ("#eceff3", "#56a0cf", "#08306b")
    return LinearSegmentedColormap.from_list("activity", shown)
