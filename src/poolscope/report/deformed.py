"""An image as it is farther and farther deformed, above the same image with noise of the same size (figure 1, left)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from poolscope.report.grids import grid_in
from poolscope.report.pictures import show_image
from poolscope.report.style import house_style, own_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def plot_deformed(pixels: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Show x, and for each displacement τx above x + η of the same distance to x.

    Args:
        pixels: one row a pixel: ``picture`` ("image", "deformed" or "noisy"), ``displacement`` (pixels, rms; nan for
            the image), ``row``, ``column``, ``red``, ``green``, ``blue`` from 0, black, to 1, white; what lies beyond
            is cut.
        ax: one of a figure's subplots, whose place is taken (default: a new figure).

    Raises:
        ValueError: as for ``grid_in``.
    """
    sizes = sorted(set(pixels["displacement"].dropna()))
    with house_style():
        ax = own_axes(ax, *deformed_size(pixels))
        cells = grid_in(ax, 2, 1 + len(sizes))
        for line in cells:
            line[0].set_axis_off()
        first = cells[0][0]
        first.set_axis_on()
        _show(first, pixels[pixels["picture"] == "image"])
        first.set_title("x", fontsize=10)
        for row, (picture, title) in enumerate((("deformed", "τx"), ("noisy", "x + η"))):
            for column, size in enumerate(sizes, start=1):
                rows = pixels[(pixels["picture"] == picture) & (pixels["displacement"] == size)]
                _show(cells[row][column], rows)
                cells[row][column].set_title(f"{title}, {size:g} px" if row == 0 else title, fontsize=10)
    return ax


def deformed_size(pixels: pd.DataFrame) -> tuple[float, float]:
    """Return the width and height in inches in which the pictures can be seen."""
    return 1.6 * (1 + pixels["displacement"].dropna().nunique()), 3.7


def _show(ax: Axes, rows: pd.DataFrame) -> None:
    height, width = int(rows["row"].max()) + 1, int(rows["column"].max()) + 1
    ordered = rows.sort_values(["row", "column"])
    values = torch.tensor(ordered[["red", "green", "blue"]].to_numpy(dtype=float))
    show_image(ax, values.reshape(height, width, 3).permute(2, 0, 1), low=0.0, high=1.0)
