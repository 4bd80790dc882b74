"""Random crops and flips of a batch, as tensor operations."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad


def random_crop(
    images: Float[Tensor, "images channels height width"], padding: int, *, generator: torch.Generator
) -> Float[Tensor, "images channels height width"]:
    """Every image moved by whole pixels, up to ``padding`` in each direction, uniformly and independently.

    What comes in from outside the frame repeats the pixels on it (normalised images have no value that stands for
    empty).

    Args:
        images: a batch.
        padding: largest move, in pixels.
        generator: source of all randomness, on the CPU.

    Raises:
        ValueError: if ``padding`` is negative.
    """
    if padding < 0:
        raise ValueError(f"padding must not be negative, it is a number of pixels; got {padding}")
    number, _, height, width = images.shape
    top, left = torch.randint(0, 2 * padding + 1, (2, number, 1), generator=generator).to(images.device)
    rows = top + torch.arange(height, device=images.device)  # [N, H]
    columns = left + torch.arange(width, device=images.device)  # [N, W]
    which = torch.arange(number, device=images.device)[:, None, None]
    padded = pad(images, (padding,) * 4, mode="replicate").permute(0, 2, 3, 1)
    return padded[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def random_flip(
    images: Float[Tensor, "images channels height width"], *, generator: torch.Generator
) -> Float[Tensor, "images channels height width"]:
    """Mirror each image left to right with probability 1/2.

    Args:
        images: a batch.
        generator: source of all randomness, on the CPU.
    """
    mirrored = torch.rand(len(images), generator=generator).to(images.device) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)
