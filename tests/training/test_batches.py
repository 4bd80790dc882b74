"""Batches: each a function of (seed, epoch, step) alone, of all images once an epoch, moved, mirrored and noisy."""

import math
import random

import pytest
import torch
from torch import Tensor

from helpers import seeded
from poolscope.datasets import frozen_noise
from poolscope.perturb import Diffeomorphism
from poolscope.training import Recipe
from poolscope.training.batches import Batches, Corruption, LabelledImages
from poolscope.training.seeds import stream

COUNT = 23


def numbered(count: int = COUNT, **fields: object) -> LabelledImages:
    """Images all of whose pixels are their number; their labels are twice that."""
    images = torch.arange(count, dtype=torch.uint8)[:, None, None, None].repeat(1, 2, 6, 5)
    return LabelledImages(images, 2 * torch.arange(count), **fields)


def pictures(count: int = COUNT, **fields: object) -> LabelledImages:
    images = torch.randint(1, 256, (count, 2, 8, 7), generator=seeded(0), dtype=torch.uint8)
    return LabelledImages(images, torch.arange(count), **fields)


def recipe(**fields: object) -> Recipe:
    return Recipe(**{"epochs": 9, "lr": 0.1, "batch_size": 5, **fields})


EVERYTHING = recipe(crop_padding=2, flip=True, deformation=0.3, deformation_cutoff=2)


def test_an_epoch_has_every_image_once_in_another_order_each_time() -> None:
    batches = Batches(numbered(), recipe(), 0)
    assert batches.steps == 5
    orders = []
    for epoch in range(3):
        parts = [batches(epoch, step) for step in range(5)]
        assert sorted(len(images) for images, _ in parts) == [4, 4, 5, 5, 5]
        labels = torch.cat([labels for _, labels in parts])
        images = torch.cat([images for images, _ in parts])
        assert torch.equal(images[:, 0, 0, 0] * 255 * 2, labels.float())
        assert sorted(labels.tolist()) == list(range(0, 2 * COUNT, 2))
        orders.append(labels.tolist())
    assert len({tuple(order) for order in orders}) == 3
    assert Batches(numbered(), recipe(), 1)(0, 0)[1].tolist() != Batches(numbered(), recipe(), 0)(0, 0)[1].tolist()


@pytest.mark.parametrize(("count", "size", "steps"), [(23, 5, 5), (25, 5, 5), (26, 5, 6), (3, 128, 1), (4, 1, 4)])
def test_as_few_batches_as_may_be(count: int, size: int, steps: int) -> None:
    batches = Batches(numbered(count), recipe(batch_size=size), 0)
    sizes = [len(batches(0, step)[1]) for step in range(batches.steps)]
    assert batches.steps == steps
    assert sum(sizes) == count
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("noise", ["fresh", "frozen"])
def test_a_batch_depends_on_seed_epoch_and_step_alone(noise: str) -> None:
    data = pictures(corruption=Corruption(1.5, noise, 3))
    inorder = Batches(data, EVERYTHING, 4)
    places = [(epoch, step) for epoch in range(3) for step in range(5)]
    expected = {place: inorder(*place) for place in places}
    shuffled = random.Random(0).sample(places, len(places))
    again = Batches(data, EVERYTHING, 4)
    before = torch.get_rng_state()
    for place in shuffled:
        for found, wanted in zip(again(*place), expected[place], strict=True):
            assert torch.equal(found, wanted)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(Batches(data, EVERYTHING, 5)(0, 0)[0], expected[0, 0][0])


def test_augmentation_is_the_definition_on_the_chosen_images() -> None:
    data = pictures()
    batches = Batches(data, EVERYTHING, 7)
    plain = Batches(data, recipe(), 7)
    for step in range(5):
        images, labels = batches(2, step)
        chosen = data.images[labels].float() / 255  # a picture's label is its number
        assert torch.equal(plain(2, step)[1], labels)  # the order does not depend on the augmentation
        deform = Diffeomorphism(0.3, 2)
        candidates = []
        for row in range(len(labels)):
            padded = torch.nn.functional.pad(chosen[row], (2, 2, 2, 2))
            windows = [padded[:, top : top + 8, left : left + 7] for top in range(5) for left in range(5)]
            candidates.append(windows + [window.flip(-1) for window in windows])
        # the deformation comes last and is linear in the image: the same field moves every candidate
        number = len(candidates[0])
        deformed = [
            deform(torch.stack([rows[index] for rows in candidates]), generator=stream(7, "deformation", 2, step))
            for index in range(number)
        ]
        for row in range(len(labels)):
            fits = [index for index in range(number) if torch.allclose(deformed[index][row], images[row], atol=1e-6)]
            assert len(fits) == 1, f"image {row} of step {step}"


def moves_of(reach: int, *, flip: bool, fill: str = "black", count: int = 2000) -> tuple[list[tuple[int, int]], int]:
    """Where one bright pixel of an asymmetric picture went, and how many were mirrored."""
    image = torch.zeros(1, 9, 11, dtype=torch.uint8)
    image[0, 4, 4], image[0, 4, 5] = 255, 51  # the bright one is left of the dim one
    data = LabelledImages(image.repeat(count, 1, 1, 1), torch.zeros(count, dtype=torch.int64))
    images, _ = Batches(data, recipe(batch_size=count, crop_padding=reach, flip=flip, crop_fill=fill), 0)(0, 0)
    found, mirrored = [], 0
    for each in images[:, 0]:
        (y, x) = (each == 1).nonzero()[0].tolist()
        turned = x > 0 and each[y, x - 1] > 0
        mirrored += turned
        found.append((y - 4, (10 - x if turned else x) - 4))
    return found, mirrored


def test_moves_are_uniform_on_both_axes_and_half_are_mirrored() -> None:
    moves, mirrored = moves_of(2, flip=True)
    counts = [moves.count((down, right)) for down in range(-2, 3) for right in range(-2, 3)]
    assert sum(counts) == 2000
    # 25 windows of 80 each; chi-squared with 24 degrees of freedom is above 60 once in 15,000 seeds
    assert sum((count - 80) ** 2 / 80 for count in counts) < 60
    assert abs(mirrored - 1000) < 5 * math.sqrt(500)
    assert moves_of(1, flip=False)[1] == 0
    assert set(moves_of(0, flip=True)[0]) == {(0, 0)}


def test_black_or_the_frame_comes_in_from_outside() -> None:
    data = LabelledImages(torch.full((40, 1, 6, 6), 255, dtype=torch.uint8), torch.zeros(40, dtype=torch.int64))
    black, _ = Batches(data, recipe(batch_size=40, crop_padding=3), 0)(0, 0)
    edge, _ = Batches(data, recipe(batch_size=40, crop_padding=3, crop_fill="edge"), 0)(0, 0)
    assert set(black.unique().tolist()) == {0, 1}
    assert edge.eq(1).all()


def test_images_are_normalised_after_they_were_moved() -> None:
    data = pictures(mean=(0.5, 0.25), std=(0.5, 2.0))
    images, labels = Batches(data, recipe(crop_padding=2), 0)(0, 0)
    assert images.dtype == torch.float32
    corner = ((0 - 0.5) / 0.5, (0 - 0.25) / 2)  # black, normalised
    outside = images[(images[:, 0] == corner[0]).nonzero()[:, 0], 1]
    assert (outside == corner[1]).any()
    plain, labels = Batches(data, recipe(), 0)(0, 0)
    expected = (data.images[labels].double() / 255 - torch.tensor([0.5, 0.25]).view(2, 1, 1)) / torch.tensor(
        [0.5, 2.0]
    ).view(2, 1, 1)
    torch.testing.assert_close(plain.double(), expected, rtol=1e-5, atol=1e-6)  # float32


def noise_of(data: LabelledImages, epoch: int, step: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    images, labels = Batches(data, recipe(), seed)(epoch, step)
    return images - data.images[labels].float() / 255, labels


def test_fresh_noise_is_another_at_every_access_and_of_the_norm_asked_for() -> None:
    data = pictures(200, corruption=Corruption(4.0, "fresh"))
    drawn = [noise_of(data, epoch, step)[0] for epoch in range(2) for step in range(3)]
    flat = torch.stack([noise[0].flatten() for noise in drawn])
    assert (torch.corrcoef(flat) - torch.eye(6)).abs().max() < 5 / 112**0.5
    norms = torch.cat([noise_of(data, 0, step)[0].flatten(1).norm(dim=1) for step in range(40)]).square()
    error = norms.std() / len(norms) ** 0.5
    assert error < 0.02 * 16
    assert abs(norms.mean() - 16) < 4 * error
    assert not torch.equal(noise_of(data, 0, 0, seed=1)[0], drawn[0])


def test_frozen_noise_belongs_to_the_image() -> None:
    numbers = torch.arange(COUNT) * 3 + 7  # their places in a larger data set
    data = pictures(corruption=Corruption(4.0, "frozen", 11), indices=numbers)
    expected = frozen_noise(numbers, (2, 8, 7), 4.0, seed=11)
    for epoch, step in ((0, 0), (0, 4), (5, 2)):
        for seed in (0, 1):
            noise, labels = noise_of(data, epoch, step, seed)
            torch.testing.assert_close(noise, expected[labels], rtol=0, atol=1e-6)  # (a + b) - a in float32
    other = pictures(corruption=Corruption(4.0, "frozen", 12), indices=numbers)
    assert not torch.allclose(noise_of(other, 0, 0)[0], noise_of(data, 0, 0)[0])


def test_noise_for_judging_is_another_each_epoch_if_fresh_and_none_without_eta() -> None:
    fresh = pictures(corruption=Corruption(1.0, "fresh"))
    first = fresh.evaluation(0, 10, seed=0, epoch=1)
    assert torch.equal(first, fresh.evaluation(0, 10, seed=0, epoch=1))
    assert not torch.allclose(first, fresh.evaluation(0, 10, seed=0, epoch=2))
    assert not torch.allclose(first, fresh.evaluation(0, 10, seed=1, epoch=1))
    noises = [fresh.evaluation(start, start + 5, seed=0, epoch=1) for start in (0, 5)]
    clean = [pictures().evaluation(start, start + 5, seed=0, epoch=1) for start in (0, 5)]
    assert not torch.allclose(noises[0] - clean[0], noises[1] - clean[1], atol=1e-3)  # beyond rounding
    frozen = pictures(corruption=Corruption(1.0, "frozen", 2))
    whole = frozen.evaluation(0, COUNT, seed=0, epoch=1)
    assert torch.equal(whole[4:9], frozen.evaluation(4, 9, seed=3, epoch=8))
    assert torch.equal(pictures().evaluation(0, COUNT, seed=0, epoch=0), pictures().images.float() / 255)


def test_training_noise_is_not_that_of_judging() -> None:
    data = pictures(5, corruption=Corruption(1.0, "fresh"))
    noise, labels = noise_of(data, 1, 0)
    judged = data.evaluation(0, 5, seed=0, epoch=1) - data.images.float() / 255
    assert not torch.allclose(noise, judged, atol=1e-3)
    assert not torch.allclose(noise, judged[labels], atol=1e-3)


def test_moving_to_a_device_loses_nothing() -> None:
    data = pictures(
        mean=(0.5, 0.25), std=(0.5, 2.0), corruption=Corruption(1.5, "frozen", 3), indices=torch.arange(COUNT) * 2
    )  # fmt: skip
    moved = data.to(torch.device("cpu"))
    assert (moved.mean, moved.std, moved.corruption) == (data.mean, data.std, data.corruption)
    for name in ("images", "labels", "numbers"):
        assert torch.equal(getattr(moved, name), getattr(data, name))


def test_channels_last_is_the_same_numbers() -> None:
    data = pictures()
    plain, _ = Batches(data, EVERYTHING, 0)(1, 1)
    last, _ = Batches(data, EVERYTHING.changed(memory_format="channels_last"), 0)(1, 1)
    assert torch.equal(plain, last)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert not last.is_contiguous()


def test_a_move_beyond_the_image_is_refused() -> None:
    Batches(numbered(), recipe(crop_padding=4), 0)
    with pytest.raises(ValueError, match=r"crop_padding must be below the images' side, 5 pixels.*got 5"):
        Batches(numbered(), recipe(crop_padding=5), 0)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(0, 1, 4, 4), torch.zeros(0, dtype=torch.int64), "a label for each; got 0 and 0"),
        (torch.zeros(3, 1, 4, 4), torch.tensor([0, -1, 1]), "class numbers from 0.*got -1"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(images: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelledImages(images, labels)
