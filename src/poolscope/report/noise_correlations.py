"""How error goes with D, G and R over networks that were trained on noisy images (figures 1 and C3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolscope.report.architectures import plot_architectures
from poolscope.report.grids import grid_in
from poolscope.report.style import MARKERS, colours, house_style, legend_below, own_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_APART = 0.13  # of the three quantities, so that their intervals can be told apart
_CELL = (2.7, 2.15)  # inches


def plot_noise_correlations(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the correlations of log error with log D, G and R against the noise trained with, with 95 % intervals.

    Magnitudes of the noise stand beside each other at equal distances. Below them stands their multiple of the rms of
    ‖τx - x‖ over images with the least of these noises.

    Args:
        table: of one displacement, one row a noise and quantity: ``eta``, ``moved`` (rms of ‖τx - x‖), ``quantity``,
            ``correlation``, ``low``, ``high``; nan where there is none.
        ax: where to draw (default: a new figure).
    """
    etas = sorted(set(table["eta"]))
    with house_style():
        ax = own_axes(ax)
        ax.axhline(0, color="0.5", linewidth=0.9, zorder=0.5)
        for number, quantity in enumerate("RDG"):
            rows = table[table["quantity"] == quantity].set_index("eta").reindex(etas)
            at = [place + _APART * (number - 1) for place in range(len(etas))]
            # a percentile interval need not hold the estimate
            reach = [
                (rows["correlation"] - rows["low"]).clip(lower=0),
                (rows["high"] - rows["correlation"]).clip(lower=0),
            ]
            ax.errorbar(
                at, rows["correlation"], yerr=reach, color=colours()[number], marker=MARKERS[number], markersize=5,
                linewidth=1.2, linestyle=("-", "--", ":")[number], elinewidth=1.4, capsize=2.5,
                label=f"with log {quantity}",
            )  # fmt: skip
        moved = float(table.loc[table["eta"] == etas[0], "moved"].iloc[0])
        ax.set_xticks(range(len(etas)), [f"{eta:g}\n({eta / moved:.2g})" for eta in etas])
        ax.set_xlim(-0.5, len(etas) - 0.5)
        ax.set_ylim(-1.05, 1.05)
        ax.set_xlabel("norm of the training noise (its multiple of ‖τx − x‖)")
        ax.set_title("correlation with log error", loc="left")
        legend_below(ax, columns=3, drop=0.58)
    return ax


def plot_error_grid(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw test errors of networks against D, G and R of their output, a row of pictures for each noise (figure C3).

    Args:
        table: of one displacement, one row a network, noise and seed: ``model``, ``eta``, ``error``, ``D``, ``G``,
            ``R``.
        ax: one of a figure's subplots, whose place is taken (default: a new figure).

    Raises:
        ValueError: as for ``grid_in``.
    """
    etas = sorted(set(table["eta"]))
    models = table[["model"]].drop_duplicates()
    entries: dict[str, Any] = {}
    with house_style():
        ax = own_axes(ax, *error_grid_size(table))
        cells = grid_in(ax, len(etas), 3)
        for row, eta in enumerate(etas):
            # all in one order, so that a network has one colour in all rows, also where another one is missing
            own = models.merge(table[table["eta"] == eta], how="left")
            for column, quantity in enumerate("DGR"):
                cell = plot_architectures(own, quantity, ax=cells[row][column])
                handles, labels = cell.get_legend_handles_labels()
                entries |= dict(zip(labels, handles, strict=True))
                if legend := cell.get_legend():
                    legend.remove()
                cell.set_title(quantity if row == 0 else "", loc="left")
                cell.set_xlabel("" if row < len(etas) - 1 else f"{quantity} of the output")
                cell.set_ylabel(f"η = {eta:g}: test error" if column == 0 else "")
        ax.figure.legend(
            list(entries.values()), list(entries), loc="outside lower center", ncols=min(6, len(entries)),
            markerscale=0.75,
        )  # fmt: skip
    return ax


def error_grid_size(table: pd.DataFrame) -> tuple[float, float]:
    """Return the width and height in inches in which every picture of the grid can be read."""
    lines = -(-table["model"].nunique() // 6)
    return 3 * _CELL[0], table["eta"].nunique() * _CELL[1] + 0.3 + 0.22 * lines
