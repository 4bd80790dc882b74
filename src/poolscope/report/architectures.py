"""Networks as points: test error against D, G or R of the output (figures 1, C1 and C3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolscope.report.scale import read_as_numbers
from poolscope.report.style import MARKERS, colours, house_style, legend_below, own_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_NAMES = {
    "D": "D of the output: sensitivity to deformations",
    "G": "G of the output: sensitivity to noise",
    "R": "R of the output",
}


def plot_architectures(table: pd.DataFrame, quantity: str, *, ax: Axes | None = None) -> Axes:
    """Draw the test error of networks against D, G or R of their output, both logarithmic; small: each seed.

    Args:
        table: one row a network and seed: ``model``, ``error`` (share of the images), ``D``, ``G``, ``R``.
        quantity: which of the three.
        ax: where to draw (default: a new figure).

    Raises:
        ValueError: another quantity.
    """
    import numpy as np

    if quantity not in _NAMES:
        raise ValueError(f"quantity must be one of {', '.join(_NAMES)}; got {quantity!r}")
    with house_style():
        ax = own_axes(ax)
        for number, (model, rows) in enumerate(table.groupby("model", sort=False)):
            colour = colours()[number % len(colours())]
            marker = MARKERS[(number + number // len(colours())) % len(MARKERS)]  # the eighth is not the first again
            positive = rows[(rows["error"] > 0) & (rows[quantity] > 0)]
            ax.plot(
                positive[quantity],
                positive["error"],
                marker,
                color=colour,
                markersize=3.5,
                alpha=0.45,
                linestyle="none",
            )
            if len(positive):
                middle = np.exp(np.log(positive[[quantity, "error"]]).mean())
                ax.plot(
                    middle[quantity],
                    middle["error"],
                    marker,
                    color=colour,
                    markersize=9,
                    linestyle="none",
                    label=str(model),
                )
        ax.set_xscale("log")
        ax.set_yscale("log")
        read_as_numbers(ax.xaxis)
        read_as_numbers(ax.yaxis)
        ax.set_xlabel(_NAMES[quantity])
        ax.set_title("test error", loc="left")
        legend_below(ax, columns=3)
    return ax
