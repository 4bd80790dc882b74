"""What the networks at CIFAR size share: rules on their options, and images of one size only."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def check_options(*, num_classes: int, in_channels: int, width: float, size: int, padding: int) -> None:
    """Refuse numbers no network can have.

    Raises:
        ValueError: ``width`` is not positive, ``num_classes``, ``in_channels`` or ``size`` is below 1, or padding
            leaves no image.
    """
    if not 0 < width < float("inf"):
        raise ValueError(f"width must be positive, it multiplies the numbers of channels; got {width}")
    if num_classes < 1 or in_channels < 1:
        raise ValueError(f"num_classes and in_channels must be at least 1; got {num_classes} and {in_channels}")
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel; got {size}")
    most = (size - 1) // 2
    if not 0 <= padding <= most:
        raise ValueError(f"padding must be in 0 .. {most}, so that some of the {size} pixels are image; got {padding}")


def scaled(number: int, width: float) -> int:
    """Return ``number`` times ``width``, rounded, at least 1."""
    return max(1, round(number * width))


class CifarNetwork(nn.Module):
    """A network for square images of one size.

    Attributes:
        in_channels: channels of the images.
        size: pixels per side after padding.
        padding: zero pixels added around the image first.
    """

    def __init__(self, *, num_classes: int, in_channels: int, width: float, size: int, padding: int) -> None:
        super().__init__()
        check_options(num_classes=num_classes, in_channels=in_channels, width=width, size=size, padding=padding)
        self.in_channels = in_channels
        self.size = size
        self.padding = padding

    def framed(self, images: Tensor) -> Tensor:
        """Return the images with zeros around them.

        Raises:
            ValueError: if the images have other channels or another size than the network was built for.
        """
        return _framed(images, self.in_channels, self.size, self.padding)


@torch.fx.wrap  # a leaf for symbolic tracing, which cannot follow a condition on a shape
def _framed(images: Tensor, channels: int, size: int, padding: int) -> Tensor:
    side = size - 2 * padding
    if images.ndim != 4 or tuple(images.shape[1:]) != (channels, side, side):
        raise ValueError(
            f"images must be [N, {channels}, {side}, {side}], for which this network was built (in_channels, size and "
            f"padding are options); got {list(images.shape)}"
        )
    return nn.functional.pad(images, (padding,) * 4) if padding else images
