"""Crops and flips of whole batches: one gather from the resident images, whatever their type."""

from typing import Literal

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor


def crop_and_flip(
    images: Shaped[Tensor, "total channels height width"],
    chosen: Int64[Tensor, "batch"],
    moves: Int64[Tensor, "batch 2"],
    mirrored: Bool[Tensor, "batch"],
    *,
    fill: Literal["black", "edge"],
) -> Shaped[Tensor, "batch channels height width"]:
    """Take images out of many, each moved by whole pixels and then perhaps mirrored left to right.

    Args:
        images: all of them, such as uint8; on the device where the batch is wanted.
        chosen: index of each image of the batch.
        moves: (down, right) in pixels: the content of pixel (y, x) goes to (y + down, x + right).
        mirrored: which images are mirrored afterwards.
        fill: what comes in from outside: zeros, or the nearest pixel of the frame.
    """
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device) - moves[:, :1]  # [batch, height], where each row comes from
    columns = torch.arange(width, device=images.device).expand(len(chosen), -1)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns) - moves[:, 1:]
    from_rows, from_columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    pixels = (from_rows[:, :, None] * width + from_columns[:, None, :]).flatten(1)  # [batch, height · width]
    batch = images[chosen]
    batch = batch.flatten(2).gather(2, pixels[:, None].expand(-1, batch.shape[1], -1)).view_as(batch)
    if fill == "black":
        inside = (rows == from_rows)[:, :, None] & (columns == from_columns)[:, None, :]
        batch.mul_(inside[:, None])
    return batch
