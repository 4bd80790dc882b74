"""Which images to take: class-balanced subsets and validation splits, from a seed."""

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

# One stream for each purpose: with one seed, a subset and a validation split have nothing in common.
_SUBSET, _VALIDATION = 1, 2


def balanced_subset(labels: Int64[Tensor, "images"], count: int, *, seed: int) -> Int64[Tensor, "{count}"]:
    """Indices of ``count`` images, in rising order, with the same number of every class to within one.

    The classes are those that occur. Of one seed, a smaller subset is part of every larger one.

    Args:
        labels: class numbers from 0.
        count: images to take.
        seed: 0 .. 2^32 - 1, of which images, and of which classes have one more.

    Raises:
        ValueError: an image without label (-1), ``count`` outside 1 .. images, a class with too few images, or
            ``seed`` out of range.
    """
    chosen = _choose(labels, count, seed, _SUBSET, left=0)
    return torch.from_numpy(np.flatnonzero(chosen))


def validation_split(
    labels: Int64[Tensor, "images"], count: int, *, seed: int
) -> tuple[Int64[Tensor, "training"], Int64[Tensor, "{count}"]]:
    """Indices of the training and of ``count`` validation images, both in rising order: each image is in one of them.

    The validation images have the same number of every class to within one. Of one seed, a smaller validation set is
    part of every larger one.

    Args:
        labels: class numbers from 0.
        count: validation images.
        seed: 0 .. 2^32 - 1, of which images are held out.

    Raises:
        ValueError: an image without label (-1), ``count`` outside 1 .. images - 1, a class with too few images to
            leave one for training, or ``seed`` out of range.
    """
    chosen = _choose(labels, count, seed, _VALIDATION, left=1)
    return torch.from_numpy(np.flatnonzero(~chosen)), torch.from_numpy(np.flatnonzero(chosen))


def _choose(labels: Tensor, count: int, seed: int, purpose: int, *, left: int) -> np.ndarray:
    """Which images are among ``count``, every class giving alike and keeping at least ``left`` images."""
    numbers = labels.cpu().numpy()
    if not 1 <= count <= len(numbers) - left:
        raise ValueError(
            f"count must be in 1 .. {len(numbers) - left}, the {len(numbers)} images less {left} left; got {count}"
            if left
            else f"count must be in 1 .. {len(numbers)}, the images there are; got {count}"
        )
    if numbers.min() < 0:
        raise ValueError(f"every image must have a label, from 0, for classes to be balanced; got {numbers.min()}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be in 0 .. 2**32 - 1, numpy's RandomState uses no more bits; got {seed}")
    random = np.random.RandomState([purpose, seed])  # the one generator whose stream numpy promises never to change
    classes, sizes = np.unique(numbers, return_counts=True)
    shares, extra = np.full(len(classes), count // len(classes)), count % len(classes)
    order = random.permutation(len(classes))
    able = order[sizes[order] - left > shares[order]]
    if (sizes - left < shares).any() or len(able) < extra:
        small = int(np.argmin(sizes))
        needed = count // len(classes) + (1 if sizes[small] - left >= shares[small] else 0)
        raise ValueError(
            f"{count} images must be balanced over {len(classes)} classes, {needed} of each"
            f"{' with one left over' if left else ''}; class {classes[small]} has {sizes[small]}"
        )
    shares[able[:extra]] += 1
    chosen = np.zeros(len(numbers), dtype=bool)
    for label, share in zip(classes, shares, strict=True):
        chosen[random.permutation(np.flatnonzero(numbers == label))[:share]] = True
    return chosen
