"""Crops and flips against slow loops over pixels, and against torchvision's."""

import numpy as np
import pytest
import torch

from helpers import seeded
from poolscope._torchvision import import_torchvision
from poolscope.training.augment import crop_and_flip

IMAGES = torch.randint(1, 256, (7, 2, 5, 6), generator=seeded(0), dtype=torch.uint8)
CHOSEN = torch.tensor([3, 3, 0, 6, 1, 5, 2, 4, 0])
MOVES = torch.tensor([[0, 0], [2, -1], [-2, 3], [0, 4], [-4, 0], [1, 1], [4, -5], [-1, -1], [0, 0]])
MIRRORED = torch.tensor([False, True, False, True, True, False, True, False, True])


@pytest.mark.parametrize("fill", ["black", "edge"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_pixel_by_pixel(fill: str, dtype: torch.dtype) -> None:
    images = IMAGES.to(dtype)
    found = crop_and_flip(images, CHOSEN, MOVES, MIRRORED, fill=fill)
    assert found.dtype == dtype
    for row, (index, (down, right), mirrored) in enumerate(
        zip(CHOSEN.tolist(), MOVES.tolist(), MIRRORED.tolist(), strict=True)
    ):
        moved = np.zeros((2, 5, 6))
        for y in range(5):
            for x in range(6):
                fromy, fromx = y - down, x - right
                if fill == "edge":
                    fromy, fromx = min(max(fromy, 0), 4), min(max(fromx, 0), 5)
                if 0 <= fromy < 5 and 0 <= fromx < 6:
                    moved[:, y, x] = images[index, :, fromy, fromx]
        if mirrored:
            moved = moved[:, :, ::-1]
        assert np.array_equal(found[row].numpy(), moved), f"image {row}"


def test_every_window_of_torchvisions_padded_image() -> None:
    import_torchvision()
    from torchvision.transforms import functional

    for top in range(5):
        for left in range(5):
            for fill, mode in (("black", "constant"), ("edge", "edge")):
                expected = functional.crop(functional.pad(IMAGES[:1], [2], padding_mode=mode), top, left, 5, 6)
                moves = torch.tensor([[2 - top, 2 - left]])
                for mirrored in (False, True):
                    found = crop_and_flip(IMAGES, torch.tensor([0]), moves, torch.tensor([mirrored]), fill=fill)
                    assert torch.equal(found, functional.hflip(expected) if mirrored else expected)


def test_the_images_stay_as_they_are() -> None:
    before = IMAGES.clone()
    crop_and_flip(IMAGES, CHOSEN, MOVES, MIRRORED, fill="black")
    same = crop_and_flip(IMAGES, CHOSEN, torch.zeros_like(MOVES), torch.zeros_like(MIRRORED), fill="black")
    assert torch.equal(IMAGES, before)
    assert torch.equal(same, IMAGES[CHOSEN])
    same.zero_()
    assert torch.equal(IMAGES, before)
