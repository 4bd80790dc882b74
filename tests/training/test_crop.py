"""Random crops against the definition: pad, then take a window."""

import numpy as np
import pytest
import torch

from helpers import seeded
from poolscope.training.crop import random_crop, random_flip


def test_every_crop_is_a_window_of_the_padded_image() -> None:
    images = torch.randn(200, 2, 5, 6, generator=seeded(0))
    cropped = random_crop(images, 2, generator=seeded(1))
    moves = []
    for image, crop in zip(images.numpy(), cropped.numpy(), strict=True):
        padded = np.pad(image, ((0, 0), (2, 2), (2, 2)), mode="edge")
        found = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.array_equal(padded[:, top : top + 5, left : left + 6], crop)
        ]
        assert len(found) == 1
        moves += found
    assert {top for top, _ in moves} == {left for _, left in moves} == set(range(5))
    assert len(set(moves)) == 25  # all 25 windows; the chance to miss one is 25 (24/25)^200 = 0.7 %, for this seed none


def test_randomness_comes_from_the_generator_alone() -> None:
    images = torch.randn(8, 1, 5, 5)
    before = torch.get_rng_state()
    first = random_crop(images, 1, generator=seeded(0))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(random_crop(images, 1, generator=seeded(0)), first)
    assert torch.equal(random_crop(images, 0, generator=seeded(0)), images)
    with pytest.raises(ValueError, match=r"must not be negative.*got -1"):
        random_crop(images, -1, generator=seeded(0))


def test_half_of_the_images_are_mirrored_and_the_others_are_untouched() -> None:
    images = torch.randn(400, 2, 3, 5, generator=seeded(0))
    flipped = random_flip(images, generator=seeded(1))
    same = (flipped == images).all(dim=(1, 2, 3))
    mirrored = (flipped == images[..., [4, 3, 2, 1, 0]]).all(dim=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert abs(int(mirrored.sum()) - 200) < 5 * 10  # five standard deviations, sqrt(400) / 2 each
    assert torch.equal(flipped, random_flip(images, generator=seeded(1)))
