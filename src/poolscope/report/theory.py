"""Exact theory as pictures: D, G and R beside their laws, how far they stand from them, and one pixel's profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolscope.report.curves import TITLES, check_quantity
from poolscope.report.scale import read_as_numbers
from poolscope.report.style import MARKERS, colours, house_style, legend_below, own_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

#: Columns of exact values and of their laws, and what each is.
CURVES = {
    "D": (("D", "D_law", "exact"),),
    "G": (
        ("G_rectified", "G_law", "rectified noise"),
        ("G_relu", "G_relu_law", "plain noise, ReLU network"),
        ("G_linear", "G_linear_law", "plain noise, linear network"),
    ),
    "R": (("R", "R_law", "exact"),),
}
_LAW = (0.0, (4.0, 2.0))


def plot_predictions(table: pd.DataFrame, quantity: str, *, ax: Axes | None = None) -> Axes:
    """Draw exact D, G (of three kinds of noise) or R against the receptive field A, the laws dashed, both logarithmic.

    Args:
        table: one row a layer: ``A`` in pixels; ``D``, ``G_rectified``, ``G_relu``, ``G_linear``, ``R``; and ``D_law``,
            ``G_law``, ``G_relu_law``, ``G_linear_law``, ``R_law``.
        quantity: "D", "G" or "R".
        ax: where to draw (default: a new figure).

    Raises:
        ValueError: another quantity.
    """
    check_quantity(quantity)
    with house_style():
        ax = own_axes(ax)
        for number, (exact, law, label) in enumerate(CURVES[quantity]):
            ax.plot(
                table["A"], table[exact].where(table[exact] > 0), color=colours()[number], marker=MARKERS[number],
                markersize=4, linewidth=1.7, label=label,
            )  # fmt: skip
            ax.plot(table["A"], table[law], color=colours()[number], linestyle=_LAW, linewidth=1.2)
        ax.plot([], [], color="0.5", linestyle=_LAW, linewidth=1.2, label="law of many layers, large image")
        for axis, scale in ((ax.xaxis, ax.set_xscale), (ax.yaxis, ax.set_yscale)):
            scale("log")
            read_as_numbers(axis)
        ax.set_xlabel("receptive field A of the layer (pixels)")
        ax.set_title(TITLES[quantity], loc="left")
        legend_below(ax)
    return ax


def plot_ratios(ratios: pd.DataFrame, *, tolerance: float = 0.1, ax: Axes | None = None) -> Axes:
    """Draw exact D, G and R divided by their laws against the layer; a band is within ``tolerance`` of 1.

    Args:
        ratios: ``k``, ``D``, ``G``, ``R``, one row a layer.
        tolerance: half the band's width.
        ax: where to draw (default: a new figure).
    """
    from matplotlib.ticker import MaxNLocator

    with house_style():
        ax = own_axes(ax)
        ax.axhspan(1 - tolerance, 1 + tolerance, color="0.5", alpha=0.18, linewidth=0, label=f"within {tolerance:.0%}")
        for number, quantity in enumerate(TITLES):
            values = ratios[quantity].where(ratios[quantity] > 0)
            ax.plot(
                ratios["k"], values, color=colours()[number], marker=MARKERS[number], markersize=4, linewidth=1.7,
                label=quantity,
            )  # fmt: skip
        ax.set_yscale("log")
        read_as_numbers(ax.yaxis)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel("layer k")
        ax.set_title("exact value / law", loc="left")
        legend_below(ax, columns=4)
    return ax


def plot_filters(table: pd.DataFrame, quantity: str, *, ax: Axes | None = None) -> Axes:
    """Draw exact D, G (rectified noise) or R against the layer, a line for each kind of filters.

    Args:
        table: one row a kind and layer: ``filters`` (what the filters are), ``k``, ``D``, ``G_rectified``, ``R``. Where
            the theory has no number, lines end.
        quantity: "D", "G" or "R".
        ax: where to draw (default: a new figure).

    Raises:
        ValueError: another quantity.
    """
    from matplotlib.ticker import MaxNLocator

    check_quantity(quantity)
    column = CURVES[quantity][0][0]
    with house_style():
        ax = own_axes(ax)
        for number, (label, rows) in enumerate(table.groupby("filters", sort=False)):
            ax.plot(
                rows["k"], rows[column].where(rows[column] > 0), color=colours()[number], marker=MARKERS[number],
                linestyle=("-", _LAW)[number % 2], markersize=4, linewidth=1.7, label=str(label),
            )  # fmt: skip
        ax.set_yscale("log")
        read_as_numbers(ax.yaxis)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel("layer k")
        ax.set_title(TITLES[quantity], loc="left")
        legend_below(ax)
    return ax


def plot_profiles(profiles: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw what one active pixel becomes at some layers (markers) and the Gaussians of proposition 1 (lines).

    Args:
        profiles: ``k``, ``offset`` (pixels from the active one), ``exact`` (M^k δ, nan between pixels), ``true`` and
            ``printed``: the Gaussian with the true constants (solid) and with the printed ones (dotted).
        ax: where to draw (default: a new figure).
    """
    with house_style():
        ax = own_axes(ax)
        for number, (k, rows) in enumerate(profiles.groupby("k", sort=True)):
            colour = colours()[number]
            known = rows[rows["exact"].notna()]
            ax.plot(
                known["offset"], known["exact"], color=colour, linestyle="none", marker=MARKERS[number], markersize=4,
                label=f"layer {k}",
            )  # fmt: skip
            ax.plot(rows["offset"], rows["true"], color=colour, linewidth=1.4)
            ax.plot(rows["offset"], rows["printed"], color=colour, linewidth=1.2, linestyle=(0.0, (1.0, 1.5)))
        ax.plot([], [], color="0.5", linewidth=1.4, label="Gaussian, true constants")
        ax.plot([], [], color="0.5", linewidth=1.2, linestyle=(0.0, (1.0, 1.5)), label="Gaussian, as printed")
        ax.set_ylim(bottom=0)
        ax.set_xlabel("distance from the active pixel (pixels)")
        ax.set_title("one active pixel, layers later", loc="left")
        legend_below(ax)
    return ax
