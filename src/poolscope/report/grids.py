"""Several axes in the place of one, for figures with rows and columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def grid_in(ax: Axes, rows: int, columns: int) -> list[list[Axes]]:
    """Return ``rows`` x ``columns`` axes that fill the place of ``ax``, which is hidden.

    Args:
        ax: one of a figure's subplots.
        rows, columns: of the grid, 1 or more.

    Raises:
        ValueError: axes that are not in a grid of subplots.
    """
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError("the axes must be one of a figure's subplots, whose place is shared out; got free ones")
    ax.set_axis_off()
    inner = place.subgridspec(rows, columns)
    return [[ax.figure.add_subplot(inner[row, column]) for column in range(columns)] for row in range(rows)]
