"""The images of a run: three parts that share nothing, balanced, with noise that belongs to each image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from poolscope.datasets import frozen_noise, load_images, open_arrays
from poolscope.training import Data, prepare_data
from poolscope.training.batches import LabelledImages
from poolscope.training.prepare import prepare_model
from training.small_runs import configured, small_recipe

pytest.importorskip("sklearn", reason="the digits come with scikit-learn, an extra")


@pytest.fixture
def prepared(arrays_cache: Path) -> Any:
    return lambda **options: prepare_data("digits", cache=arrays_cache, **options)


def numbers(part: LabelledImages) -> set[int]:
    return set(part.numbers.tolist())


def test_training_and_validation_are_disjoint_and_balanced(prepared: Any, arrays_cache: Path) -> None:
    data = prepared(validation=100)
    every = open_arrays("digits", split="train", cache=arrays_cache)
    assert not numbers(data.train) & numbers(data.validation)
    assert numbers(data.train) | numbers(data.validation) == set(range(len(every)))
    assert data.validation.labels.bincount().tolist() == [10] * 10
    for part in (data.train, data.validation):
        assert torch.equal(part.images, every.images[part.numbers])
        assert torch.equal(part.labels, every.labels[part.numbers])
    images, labels = load_images("digits", split="test", with_labels=True)
    assert torch.equal(data.test.labels, labels)
    assert torch.equal(data.test.evaluation(0, len(labels), seed=0, epoch=0), images)
    assert (data.classes, data.channels) == (10, 1)


def test_subsets_are_balanced_and_keep_off_the_validation_images(prepared: Any) -> None:
    data = prepared(images=200, validation=100)
    assert data.train.labels.bincount().tolist() == [20] * 10
    assert not numbers(data.train) & numbers(data.validation)
    assert numbers(data.validation) == numbers(prepared(validation=100).validation)
    assert numbers(data.train) < numbers(prepared(images=300, validation=100).train)
    other = prepared(images=200, validation=100, seed=1)
    assert numbers(other.train) != numbers(data.train)
    assert numbers(other.validation) != numbers(data.validation)
    firsts = [prepared(images=200, validation="test", seed=seed).train for seed in (0, 1)]
    assert numbers(firsts[0]) != numbers(firsts[1])


def test_a_tenth_is_for_validation_unless_said_otherwise(prepared: Any) -> None:
    assert len(prepared().validation) == prepared().choice.validation == 1437 // 10
    assert len(prepared(images=200).validation) == 20
    assert len(prepared(images=200).train) == 200


def test_the_test_images_choose_only_by_name(prepared: Any) -> None:
    data = prepared(validation="test")
    assert data.validation is data.test
    assert data.choice.validation == "test"
    assert len(data.train) == 1437


def test_the_choice_says_what_was_opened(prepared: Any, arrays_cache: Path) -> None:
    choice = prepared(images=100, validation=10, seed=3, eta=2.0, noise="frozen").choice
    assert (choice.spec, choice.images, choice.validation, choice.seed) == ("digits", 100, 10, 3)
    assert (choice.eta, choice.noise, choice.train, choice.test) == (2.0, "frozen", "train", "test")
    digests = tuple(open_arrays("digits", split=split, cache=arrays_cache).digest for split in ("train", "test"))
    assert choice.digests == digests


def test_frozen_noise_belongs_to_the_image_whatever_the_subset(prepared: Any) -> None:
    """An image has the same noise in every subset, and no noise is used for two images."""

    def noises(data: Data) -> dict[str, dict[int, torch.Tensor]]:
        found = {}
        for name in ("train", "validation", "test"):
            part = getattr(data, name)
            noise = part.evaluation(0, len(part), seed=5, epoch=7) - part.normalised(part.images)
            found[name] = dict(zip(part.numbers.tolist(), noise.flatten(1), strict=True))
        return found

    few = noises(prepared(images=60, validation=30, eta=3.0, noise="frozen"))
    many = noises(prepared(images=90, validation=30, eta=3.0, noise="frozen"))
    for name, images in few.items():
        for number, noise in images.items():
            assert torch.equal(noise, many[name][number])
    assert few["train"].keys() < many["train"].keys()
    everything = torch.stack([noise for images in few.values() for noise in images.values()])
    correlations = torch.corrcoef(everything) - torch.eye(len(everything))
    assert correlations.abs().max() < 0.25  # 1/32 each; the same noise twice would give 1
    assert everything.norm(dim=1).mean() == pytest.approx(3, rel=0.01)


def test_fresh_noise_goes_to_all_three(prepared: Any) -> None:
    data = prepared(images=60, validation=30, eta=3.0)
    for part in (data.train, data.validation, data.test):
        noise = part.evaluation(0, 30, seed=0, epoch=1) - part.normalised(part.images[:30])
        assert noise.flatten(1).norm(dim=1).mean() == pytest.approx(3, rel=0.02)


def test_measured_images_are_balanced_and_their_noise_is_frozen(prepared: Any) -> None:
    clean, noisy = prepared(), prepared(eta=2.0)
    images = clean.measured(50)
    whole = clean.test.normalised(clean.test.images)
    places = [int((whole == image).flatten(1).all(1).nonzero()[0, 0]) for image in images]
    assert clean.test.labels[places].bincount().tolist() == [5] * 10
    added = noisy.measured(50) - images
    assert torch.equal(noisy.measured(50), noisy.measured(50))
    expected = frozen_noise(torch.tensor(places), (1, 32, 32), 2.0, seed=noisy.test.corruption.seed)
    torch.testing.assert_close(added, expected, rtol=0, atol=1e-6)  # (a + b) - a in float32
    assert torch.equal(clean.measured(10**6), whole)


def test_initial_weights_are_of_the_seed_and_the_recipe(digits: Data) -> None:
    def weights(**fields: Any) -> torch.Tensor:
        before = torch.get_rng_state()
        recipe = small_recipe(initialisation=fields.pop("initialisation", "default"))
        model = prepare_model(configured(digits, recipe, **fields))
        assert torch.equal(torch.get_rng_state(), before)
        return model.features[0].weight.detach()

    assert torch.equal(weights(), weights())
    assert not torch.equal(weights(), weights(seed=1))
    he = weights(initialisation="he")
    assert not torch.allclose(he, weights())
    assert torch.equal(he, weights(initialisation="he"))
    assert not torch.equal(he, weights(initialisation="he", seed=1))


def folder_of_images(folder: Path, splits: dict[str, tuple[int, int]]) -> str:
    for split, (height, width) in splits.items():
        for label in "ab":
            (folder / split / label).mkdir(parents=True)
            for number in range(4):
                pixels = np.full((height, width, 3), 40 * number, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{number}.png")
    return f"imagefolder:{folder}"


def test_what_cannot_be_learned_from_is_refused(prepared: Any, tmp_path: Path, arrays_cache: Path) -> None:
    with pytest.raises(ValueError, match=r'validation must be a number of training images from 1 or "test"; got 0'):
        prepared(validation=0)
    with pytest.raises(ValueError, match="1437 images less 1"):
        prepared(validation=1437)
    with pytest.raises(ValueError, match="got 1400"):
        prepared(images=1400, validation=100)
    spec = folder_of_images(tmp_path / "one", {"train": (8, 8), "test": (8, 10)})
    with pytest.raises(ValueError, match=r"training and test images must have the same shape; .*\(3, 8, 8\).*8, 10"):
        prepare_data(spec, cache=arrays_cache, validation=2)
    flat = tmp_path / "flat"
    for split in ("train", "test"):
        (flat / split).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(flat / split / "0.png")
    with pytest.raises(ValueError, match="images to be learned from must have labels; split 'train' of"):
        prepare_data(f"imagefolder:{flat}", cache=arrays_cache, validation="test")
    with pytest.raises(ValueError, match="noise: Input should be 'fresh' or 'frozen'; got 'pink'") as caught:
        prepared(noise="pink")
    assert "\n" not in str(caught.value)
