"""D, G and R of simple CNNs against their receptive field, beside theory; and how much of the noise piles up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolscope.report.curves import TITLES, check_quantity, lines
from poolscope.report.scale import read_as_numbers
from poolscope.report.style import MARKERS, colours, house_style, legend_below, own_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_REFERENCES = ("-", (0.0, (5.0, 2.0)), (0.0, (1.0, 1.5)), (0.0, (6.0, 1.5, 1.0, 1.5)))


def plot_scaling(
    measured: pd.DataFrame,
    quantity: str,
    reference: pd.DataFrame | None = None,
    *,
    x: str = "A",
    ax: Axes | None = None,
) -> Axes:
    """Draw D, G or R against the receptive field A_k, both logarithmic, with 95 % bands (figures 7 and B2).

    Args:
        measured: one row a model, variant and layer, with ``x``, the quantity, and its ``_low`` and ``_high``.
        quantity: "D", "G" or "R".
        reference: columns ``label``, ``x`` and the quantity: grey lines without markers, such as theory's.
        x: "A", in pixels, or "k", number of the layer (not logarithmic then).
        ax: where to draw (default: a new figure).

    Raises:
        ValueError: another quantity.
    """
    check_quantity(quantity)
    with house_style():
        ax = own_axes(ax)
        if reference is not None:
            grey = _greys()
            for number, (label, rows) in enumerate(reference.groupby("label", sort=False)):
                ax.plot(
                    rows[x], rows[quantity].where(rows[quantity] > 0), color=grey, linewidth=1.3,
                    linestyle=_REFERENCES[number % len(_REFERENCES)], label=str(label), zorder=3,
                )  # fmt: skip
        for label, look, rows in lines(measured):
            colour = colours()[look.colour]
            values = rows[quantity].where(rows[quantity] > 0)
            ax.plot(
                rows[x], values, color=colour, linestyle=look.line, marker=look.marker, markersize=4, linewidth=1.7,
                label=label,
            )  # fmt: skip
            ax.fill_between(
                rows[x], rows[f"{quantity}_low"], rows[f"{quantity}_high"], color=colour, alpha=0.16, linewidth=0
            )
        if x == "A":
            ax.set_xscale("log")
            read_as_numbers(ax.xaxis)
        ax.set_yscale("log")
        low, high = _view(measured, reference, quantity)
        ax.set_ylim(low, high)
        read_as_numbers(ax.yaxis)
        ax.set_xlabel("receptive field A of the layer (pixels)" if x == "A" else "layer k")
        ax.set_title(TITLES[quantity], loc="left")
        legend_below(ax)
    return ax


def plot_pileup(shares: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the coherent share of each layer's response to noise against the layer, with 95 % bands.

    Args:
        shares: one row a model, variant and layer: ``k``, ``share``, ``share_low``, ``share_high``.
        ax: where to draw (default: a new figure).
    """
    with house_style():
        ax = own_axes(ax)
        ax.axhline(0, color="0.5", linewidth=0.9, zorder=0.5)
        for label, look, rows in lines(shares):
            colour = colours()[look.colour]
            ax.plot(
                rows["k"], rows["share"], color=colour, linestyle=look.line, marker=look.marker, markersize=4,
                linewidth=1.7, label=label,
            )  # fmt: skip
            ax.fill_between(rows["k"], rows["share_low"], rows["share_high"], color=colour, alpha=0.16, linewidth=0)
        ax.set_ylim(min(-0.05, float(shares["share"].min()) - 0.05), 1.02)
        ax.set_xlabel("layer k")
        ax.set_title("share of the noise response common to all draws", loc="left")
        legend_below(ax)
    return ax


def plot_noisy_errors(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the error under noise against its magnitude: thin lines for seeds, thick ones for their mean.

    Args:
        table: ``model``, ``seed``, ``magnitude``, ``error``.
        ax: where to draw (default: a new figure).
    """
    with house_style():
        ax = own_axes(ax)
        for number, (model, rows) in enumerate(table.groupby("model", sort=False)):
            colour = colours()[number % len(colours())]
            for _, seed in rows.groupby("seed"):
                ax.plot(seed["magnitude"], seed["error"], color=colour, linewidth=0.8, alpha=0.45)
            mean = rows.groupby("magnitude")["error"].mean()
            ax.plot(
                mean.index, mean, color=colour, marker=MARKERS[number % len(MARKERS)], markersize=4, linewidth=1.8,
                label=str(model),
            )  # fmt: skip
        ax.set_ylim(bottom=0)
        ax.set_xlabel("noise: its norm over the rms of |τx - x|")
        ax.set_title("error on all pairs", loc="left")
        legend_below(ax)
    return ax


def _greys() -> str:
    from poolscope.report.style import is_dark

    return "#d5d9de" if is_dark() else "#2b2f36"


def _view(measured: pd.DataFrame, reference: pd.DataFrame | None, quantity: str) -> tuple[float, float]:
    """Return the range of the values themselves: wide bands and laws far off must not flatten them."""
    values = measured[quantity].where(measured[quantity] > 0)
    low, high = float(values.min()), float(values.max())
    if reference is not None:
        first = reference[reference["label"] == reference["label"].iloc[0]][quantity]
        first = first.where(first > 0)
        low, high = min(low, float(first.min())), max(high, float(first.max()))
    return low / 1.4, high * 1.4
