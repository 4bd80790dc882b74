"""Resampling an image along a displacement field; whole-pixel moves are exact, bit for bit."""

from __future__ import annotations

import functools
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from poolscope._checks import check_images

Interpolation = Literal["bilinear", "nearest", "bicubic"]


@functools.lru_cache(maxsize=64)
def centres(size: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, " size"]:
    """Return pixel centres in the units of ``grid_sample(align_corners=False)``: (2 k + 1) / size - 1."""
    return ((2 * torch.arange(size, dtype=torch.float64) + 1) / size - 1).to(device=device, dtype=dtype)


def warp(
    images: Float[Tensor, "*batch channels height width"],
    field: Float[Tensor, "*fields 2 height width"],
    *,
    interpolation: Interpolation = "bilinear",
) -> Float[Tensor, "*batch channels height width"]:
    """Move each pixel's content by ``field``: the new image at (x, y) is the old one at (x - dx, y - dy).

    Positions outside the image are clamped to its frame. A pixel whose source position is a whole pixel gets that
    pixel's value unchanged, so that a zero field is the identity and whole-pixel shifts are exact.

    Args:
        images: any leading axes; half types are resampled in float32 and returned in their own type.
        field: (dx, dy) in pixels, x to the right and y down; the leading axes of ``images``, or one field for all.
        interpolation: ``"bilinear"`` (the published choice), ``"nearest"`` or ``"bicubic"``.

    Returns:
        Shape and dtype of ``images``; differentiable in ``images``.

    Raises:
        TypeError: images are not floating point.
        ValueError: sizes of images and field differ, or an unknown interpolation.
    """
    check_images(images, least_side=1)
    if interpolation not in get_args(Interpolation):
        raise ValueError(f"interpolation must be one of {', '.join(get_args(Interpolation))}; got {interpolation!r}")
    leading, size = images.shape[:-3], images.shape[-2:]
    if field.shape[-3:] != (2, *size):
        raise ValueError(f"field must be [..., 2, H, W], H, W = {tuple(size)} the images'; got {tuple(field.shape)}")
    if field.shape[:-3] not in (leading, torch.Size()):
        raise ValueError(
            f"field must have the images' leading axes {tuple(leading)}, or none; got {tuple(field.shape[:-3])}"
        )
    dtype = torch.float32 if images.dtype.itemsize < 4 else images.dtype
    flat = images.reshape(-1, *images.shape[-3:]).to(dtype)
    moves = field.to(device=images.device, dtype=dtype).expand(*leading, 2, *size).reshape(-1, 2, *size)
    moved = resample(flat, sampling_grid(moves), interpolation)
    if interpolation != "nearest" and not all(_is_exact(side) for side in size):
        _copy_whole_pixels(flat, moves, moved)
    return moved.reshape(images.shape).to(images.dtype)


def sampling_grid(field: Float[Tensor, "batch 2 height width"]) -> Float[Tensor, "batch height width 2"]:
    """Turn displacements in pixels into source positions in the units of ``grid_sample(align_corners=False)``."""
    height, width = field.shape[-2:]
    positions, unit = _undeformed(height, width, field.dtype, field.device)
    return torch.addcmul(positions, field, unit, value=-1).permute(0, 2, 3, 1)


@functools.lru_cache(maxsize=2)  # as large as a field
def _undeformed(height: int, width: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the positions of all pixels ``[2, H, W]`` and the length of one pixel ``[2, 1, 1]``, in grid units."""
    rows, columns = torch.meshgrid(centres(height, dtype, device), centres(width, dtype, device), indexing="ij")
    unit = torch.tensor([2 / width, 2 / height], dtype=dtype, device=device)
    return torch.stack([columns, rows]), unit[:, None, None]


def resample(
    images: Float[Tensor, "batch channels height width"],
    grid: Float[Tensor, "batch height width 2"],
    interpolation: Interpolation,
) -> Float[Tensor, "batch channels height width"]:
    """Read ``images`` at ``grid`` (positions clamped at the frame); whole pixels are exact for sides of 2^m only."""
    if interpolation == "bicubic":
        # grid_sample clamps the pixels it reads, but not the position, and so overshoots outside the frame.
        height, width = images.shape[-2:]
        limit = grid.new_tensor([1 - 1 / width, 1 - 1 / height])
        grid = torch.minimum(torch.maximum(grid, -limit), limit)
    with torch.autocast(images.device.type, enabled=False):
        return F.grid_sample(images, grid, mode=interpolation, padding_mode="border", align_corners=False)


def _is_exact(side: int) -> bool:
    return side & (side - 1) == 0  # (2 k + 1) / side and back are exact in binary


def _copy_whole_pixels(images: Tensor, field: Tensor, moved: Tensor) -> None:
    """Overwrite, in ``moved``, every pixel whose source is a whole pixel: there ``grid_sample`` is off by rounding."""
    whole = field == field.round()
    image, row, column = (whole[:, 0] & whole[:, 1]).nonzero(as_tuple=True)
    height, width = images.shape[-2:]
    source_row = (row - field[image, 1, row, column].long()).clamp(0, height - 1)
    source_column = (column - field[image, 0, row, column].long()).clamp(0, width - 1)
    moved[image, :, row, column] = images[image, :, source_row, source_column]


def copy_frame(images: Float[Tensor, "*batch height width"], moved: Float[Tensor, "*batch height width"]) -> None:
    """Overwrite the frame of ``moved`` with that of ``images``: where a field is zero there, this makes it exact."""
    if all(_is_exact(side) for side in images.shape[-2:]):
        return
    for edge in (0, -1):
        moved[..., edge, :] = images[..., edge, :]
        moved[..., :, edge] = images[..., :, edge]
