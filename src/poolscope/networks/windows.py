"""Which pixels a filter sees: the windows of a convolution on a ring or torus, or with zeros outside."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Int64
from torch import Tensor

Outside = Literal["circular", "zero"]
Alignment = Literal["patches", "centred"]


def check_windows(filter_size: int, stride: int, outside: str, alignment: str) -> None:
    """Refuse windows that the networks of section 4 do not have.

    Raises:
        ValueError: stride is neither 1 nor the filter size, or a choice that there is not.
    """
    if isinstance(filter_size, bool) or not isinstance(filter_size, int) or filter_size < 1:
        raise ValueError(f"filter_size must be a whole number of pixels, 1 or more; got {filter_size!r}")
    if stride not in (1, filter_size):
        raise ValueError(f"stride must be 1 or the filter size {filter_size}, as in section 4; got {stride!r}")
    for name, value, choices in (("outside", outside, Outside), ("alignment", alignment, Alignment)):
        if value not in get_args(choices):
            raise ValueError(f"{name} must be one of {', '.join(get_args(choices))}; got {value!r}")


def reach(filter_size: int, stride: int, alignment: Alignment) -> int:
    """Return how many pixels a window reaches to the left of the one it belongs to.

    Windows of stride 1 are centred, with F/2 - 1 to the left and F/2 to the right of an even one (the authors' code;
    (A.1) has it the other way round, which only moves everything by a pixel). Windows of stride F start at F b, so that
    they fill task 2's patches; "centred" instead, as the authors' code has it, which is the same for F = 2 and puts
    windows of odd F across the patches' borders (and appendix A's even windows would do so too).
    """
    return 0 if stride > 1 and alignment == "patches" else (filter_size - 1) // 2


def check_size(size: tuple[int, ...], stride: int) -> None:
    """Refuse a size that windows of this stride do not fill.

    Raises:
        ValueError: a side is no multiple of the stride.
    """
    if any(side % stride for side in size):
        raise ValueError(
            f"every layer's sides must be multiples of its stride {stride}, or its last window would stick out; "
            f"got {'x'.join(map(str, size))}"
        )


def window_table(
    size: tuple[int, ...], filter_size: int, stride: int, outside: Outside, alignment: Alignment
) -> Int64[Tensor, "outputs taps"]:
    """Return the pixel that each tap of each output's window sees, pixels counted row by row; -1 for a zero outside.

    Args:
        size: sides of the input, one or two.
        filter_size, stride, outside, alignment: as for `SimpleCNN`.

    Raises:
        ValueError: a side is no multiple of the stride.
    """
    check_size(size, stride)
    left = reach(filter_size, stride, alignment)
    axes = []
    for side in size:
        seen = torch.arange(0, side, stride)[:, None] + torch.arange(filter_size) - left
        inside = (seen >= 0) & (seen < side)
        axes.append(seen.remainder(side) if outside == "circular" else torch.where(inside, seen, -1))
    if len(size) == 1:
        return axes[0]
    rows, columns = axes
    table = rows[:, None, :, None] * size[1] + columns[None, :, None, :]
    table = torch.where((rows[:, None, :, None] < 0) | (columns[None, :, None, :] < 0), -1, table)
    return table.reshape(len(rows) * len(columns), -1)
