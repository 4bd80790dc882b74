"""Scale detection in pictures: inputs of both labels (figure 5), and where one move takes the active pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, Int64

from poolscope.report.style import colours, house_style, is_dark, own_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Grounds of a picture: without patches the first; with them, neighbours differ (two a row, in two dimensions four).
_GROUNDS = {False: ("#eceff3", "#d3e4f3", "#fbe3cf", "#d2eddf"), True: ("#262b32", "#1f3a52", "#4d3422", "#1d4436")}


@dataclass(frozen=True)
class Cell:
    """One input.

    Attributes:
        length: pixels a side of the frame.
        active: places of the active pixels, ``[pixels, dim]``.
        before: where they were, marked by frames; none if they did not move.
        patch: pixels a side of patches, or None.
        words: above it, or, of a row of pixels, to its right.
        view: rows and columns that are shown of a square, first and last; None: all.
    """

    length: int
    active: Int64[np.ndarray, "pixels dim"]
    before: Int64[np.ndarray, "pixels dim"] | None = None
    patch: int | None = None
    words: str = ""
    view: tuple[tuple[int, int], tuple[int, int]] | None = None


@dataclass(frozen=True)
class Steps:
    """Where one pixel can go: probabilities by step, ``[3]`` or ``[3, 3]``, staying in the middle."""

    chances: Float64[np.ndarray, "*side"]


def inputs_size(rows: Sequence[tuple[str, Sequence[Cell | Steps]]]) -> tuple[float, float]:
    """Return the width and height in inches of the figure that shows these rows."""
    if _is_row_of_pixels(rows):
        return 7.2, 0.3 + sum(0.3 * len(cells) + 0.32 for _, cells in rows)
    return 0.3 + 1.85 * max(len(cells) for _, cells in rows), sum(_height(cells) for _, cells in rows)


def _height(cells: Sequence[Cell | Steps]) -> float:
    """Return the inches that a row of squares takes: its heading, words if there are any, pictures."""
    return 2.2 + (0.2 if _has_words(cells) else 0.0)


def _has_words(cells: Sequence[Cell | Steps]) -> bool:
    return any(isinstance(cell, Steps) or cell.words for cell in cells)


def plot_inputs(rows: Sequence[tuple[str, Sequence[Cell | Steps]]], *, ax: Axes | None = None) -> Axes:
    """Show inputs of scale detection, active pixels dark on patches in different colours, old places framed.

    Args:
        rows: a heading, and what stands under it: squares side by side, rows of pixels below each other.
        ax: where to draw (default: a new figure); the pictures are insets of it.
    """
    with house_style():
        ax = own_axes(ax, *inputs_size(rows))
        ax.set_axis_off()
        strips = _is_row_of_pixels(rows)
        width, height = inputs_size(rows)
        ax.set_xlim(0, width)
        ax.set_ylim(height, 0)
        top = 0.1
        for heading, cells in rows:
            ax.text(0.05, top + 0.1, heading, ha="left", va="center", fontsize=10.5, fontweight="bold")
            for number, cell in enumerate(cells):
                if strips:
                    place = (0.05, top + 0.26 + 0.3 * number, width - 1.1, 0.2)
                    words: dict[str, Any] = {"x": width - 0.98, "y": place[1] + 0.1, "ha": "left", "va": "center"}
                else:
                    place = (0.05 + 1.85 * number, top + (0.46 if _has_words(cells) else 0.26), 1.7, 1.7)
                    words = {"x": place[0], "y": place[1] - 0.05, "ha": "left", "va": "bottom"}
                x, y, wide, high = place
                inset = ax.inset_axes((x, y, wide, high), transform=ax.transData)
                if isinstance(cell, Steps):
                    _show_steps(inset, cell)
                    ax.text(s="chance of each step", fontsize=9, **words)
                else:
                    _show(inset, cell)
                    ax.text(s=cell.words, fontsize=9, **words)
            top += 0.3 * len(cells) + 0.32 if strips else _height(cells)
    return ax


def _is_row_of_pixels(rows: Sequence[tuple[str, Sequence[Cell | Steps]]]) -> bool:
    return all(isinstance(cell, Cell) and cell.active.shape[1] == 1 for _, cells in rows for cell in cells)


def _show(ax: Axes, cell: Cell) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    grounds = [to_rgb(colour) for colour in _GROUNDS[is_dark()]]
    dim = cell.active.shape[1]
    places = np.indices((1, cell.length) if dim == 1 else (cell.length, cell.length))
    chosen = np.zeros(places.shape[1:], dtype=int)
    if cell.patch is not None:
        down, across = places // cell.patch % 2
        chosen = 1 + across if dim == 1 else 2 * down + across
    picture = np.array(grounds)[chosen]
    for row, column in _places(cell.active):
        picture[row, column] = to_rgb("#ffffff" if is_dark() else "#111418")
    ax.imshow(picture, interpolation="nearest", aspect="auto" if dim == 1 else "equal")
    for row, column in _places(cell.before) if cell.before is not None else ():
        frame = Rectangle(
            (column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=colours()[1], linewidth=1.2, clip_on=False
        )
        ax.add_patch(frame)
    if cell.view is not None:
        (top, bottom), (left, right) = cell.view
        ax.set_xlim(left - 0.5, right + 0.5)
        ax.set_ylim(bottom + 0.5, top - 0.5)
    _bare(ax)


def _places(pixels: Int64[np.ndarray, "pixels dim"]) -> list[tuple[int, int]]:
    """Return row and column of each pixel; a row of pixels is row 0."""
    return [(int(place[0]) if len(place) == 2 else 0, int(place[-1])) for place in pixels]


def _show_steps(ax: Axes, steps: Steps) -> None:
    from matplotlib.colors import to_rgb

    chances = np.atleast_2d(steps.chances)
    ground, full = (np.array(to_rgb(colour)) for colour in (_GROUNDS[is_dark()][0], colours()[0]))
    share = (chances / max(chances.max(), 1e-12))[..., None] * 0.75
    ax.imshow(ground * (1 - share) + full * share, interpolation="nearest")
    for (row, column), chance in np.ndenumerate(chances):
        if chance > 0:
            ax.text(column, row, f"1/{round(1 / chance)}", ha="center", va="center", fontsize=10)
    _bare(ax)


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
