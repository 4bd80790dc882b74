"""Rules on arguments, each stated once: what must hold, why, and what arrived."""

from __future__ import annotations

import torch
from torch import Tensor


def check_images(images: Tensor, *, least_side: int = 3) -> None:
    """Refuse what is not a floating-point batch of images ``[..., C, H, W]`` with both sides at least ``least_side``.

    Raises:
        TypeError: not a tensor, or not floating point.
        ValueError: too few axes, an empty axis, or a side that is too short.
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"images must be a torch.Tensor [..., C, H, W]; got {type(images).__name__}")
    if not images.dtype.is_floating_point:
        raise TypeError(
            f"images must be floating point, normalised as the model wants (x / 255 for bytes); got {images.dtype}"
        )
    if images.ndim < 3:
        raise ValueError(f"images must have axes [..., C, H, W]; got shape {tuple(images.shape)}")
    if images.numel() == 0:
        raise ValueError(f"images must not be empty; got shape {tuple(images.shape)}")
    if min(images.shape[-2:]) < least_side:
        raise ValueError(
            f"images must be at least {least_side} pixels high and wide, or no pixel lies inside the frame; "
            f"got {images.shape[-2]}x{images.shape[-1]}"
        )


def check_measured(images: Tensor) -> None:
    """Refuse what is neither a batch of images ``[N, C, H, W]`` nor one of rows ``[N, C, L]``.

    Raises:
        TypeError, ValueError: as `check_images`.
    """
    rows = isinstance(images, Tensor) and images.ndim == 3
    check_images(images[:, :, None] if rows else images, least_side=1)
    if images.ndim not in (3, 4):
        raise ValueError(f"images must be [N, C, H, W], or rows [N, C, L]; got shape {tuple(images.shape)}")
    if not rows:
        check_images(images)
    elif images.shape[2] < 3:
        raise ValueError(f"rows must be at least 3 pixels long; got shape {tuple(images.shape)}")


def check_generator(generator: object) -> None:
    """Refuse anything but a ``torch.Generator``, so that no sampler falls back on the global state."""
    if not isinstance(generator, torch.Generator):
        raise TypeError(
            f"generator must be a torch.Generator, the only source of randomness here; got {type(generator).__name__}"
        )


def check_positive(value: float, name: str, *, allow_zero: bool = False) -> float:
    """Return ``value`` as float; refuse NaN, infinity and negative numbers (and 0 unless ``allow_zero``)."""
    number = float(value)
    lowest = "not negative" if allow_zero else "positive"
    if not (number >= 0 if allow_zero else number > 0) or number == float("inf"):
        raise ValueError(f"{name} must be finite and {lowest}; got {value}")
    return number
