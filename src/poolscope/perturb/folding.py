"""Whether a deformation folds the image over itself: Jacobians, their share, and the temperatures that avoid it."""

from __future__ import annotations

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor


def jacobian(field: Float[Tensor, "*batch 2 height width"]) -> Float[Tensor, "*batch height-1 width-1"]:
    """Return the least determinant of the map (x, y) -> (x - dx, y - dy) on each cell between four pixels.

    The map is taken as bilinear between pixels. Its determinant is then bilinear in the cell, least at a corner, and
    there made of the differences along the two sides that meet: the cell is mapped one to one if and only if all four
    are positive. 1 without deformation.
    """
    along_x = field[..., :, 1:] - field[..., :, :-1]
    along_y = field[..., 1:, :] - field[..., :-1, :]
    corners = []
    for rows in (slice(0, -1), slice(1, None)):
        for columns in (slice(0, -1), slice(1, None)):
            x, y = along_x[..., rows, :], along_y[..., :, columns]
            corners.append((1 - x[..., 0, :, :]) * (1 - y[..., 1, :, :]) - y[..., 0, :, :] * x[..., 1, :, :])
    return functools.reduce(torch.minimum, corners)


def fold_fraction(field: Float[Tensor, "*batch 2 height width"]) -> Float[Tensor, "*batch"]:
    """Return the share of each field's cells at which the map is not invertible (Jacobian <= 0).

    Args:
        field: (dx, dy) in pixels.

    Returns:
        0 for a diffeomorphism on the pixel grid, up to 1.
    """
    return (jacobian(field) <= 0).to(field.dtype).mean(dim=(-2, -1))


def least_jacobian(field: Float[Tensor, "*batch 2 height width"]) -> Float[Tensor, "*batch"]:
    """Return the least Jacobian over each field's cells: positive for a diffeomorphism on the pixel grid."""
    return jacobian(field).amin(dim=(-2, -1))


def temperature_range(n: int, cutoff: int) -> tuple[float, float]:
    """Return the authors' range of temperatures (T1, T2) for ``n`` x ``n`` pixels.

    T1 = 1 / (π n² ln c): their typical displacement δ is half a pixel. T2 = 4 / (π³ c² ln c): their limit against
    overhangs. It holds for a typical gradient only: at T2 and c = 3, 37 % of the maps on 32 x 32 pixels fold
    (``fold_fraction``); at T2 / 4 it is 0.2 %.

    Args:
        n: pixels per side.
        cutoff: highest mode; 2 or more, since ln 1 = 0.

    Raises:
        ValueError: cutoff below 2, or n below 3.

    Source: pcsl-epfl/diffeomorphism, the code of Petrini et al., NeurIPS 2021.
    """
    if cutoff < 2:
        raise ValueError(f"cutoff must be at least 2: the published range divides by ln(cutoff); got {cutoff}")
    if n < 3:
        raise ValueError(f"n must be at least 3 pixels; got {n}")
    log = math.log(cutoff)
    return 1 / (math.pi * n**2 * log), 4 / (math.pi**3 * cutoff**2 * log)


def folds(field: Float[Tensor, "batch 2 height width"]) -> Tensor:
    """Return, bool ``[batch]``, whether each field folds anywhere."""
    return least_jacobian(field) <= 0
