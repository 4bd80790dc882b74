"""The digits against scikit-learn's own arrays."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

sklearn_datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is an extra")

from poolscope.datasets import load_images, open_images  # noqa: E402
from poolscope.networks import load_model  # noqa: E402


def test_all_images_are_scikit_learns_resized() -> None:
    data = sklearn_datasets.load_digits()
    images, labels = load_images("digits", with_labels=True, normalize="none")
    expected = interpolate(torch.tensor(data.images, dtype=torch.float32)[:, None] / 16, 32, mode="bilinear")
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-6)
    assert labels.tolist() == data.target.tolist()
    assert images.shape == (1797, 1, 32, 32)


def test_the_split_is_a_stratified_partition() -> None:
    everything, all_labels = load_images("digits", with_labels=True)
    train, train_labels = load_images("digits", split="train", with_labels=True)
    test, test_labels = load_images("digits", split="test", with_labels=True)
    assert (len(train), len(test)) == (1437, 360)
    rows = sorted(row.numpy().tobytes() for row in torch.cat([train, test]))
    assert rows == sorted(row.numpy().tobytes() for row in everything)  # each image once
    exact = torch.bincount(all_labels) * 360 / 1797
    assert (torch.bincount(test_labels) - exact).abs().max() < 1
    # shuffled: the first 100 labels hold every digit, in an order which is not sorted
    for labels in (train_labels, test_labels):
        assert len(labels[:100].unique()) == 10
        assert not torch.equal(labels[:100], labels[:100].sort().values)


def test_the_split_does_not_change() -> None:
    # The membership is part of every number obtained on it; these were read off once.
    first = {"train": [3, 9, 1, 3, 1, 9, 4, 4, 2, 8, 3, 5], "test": [7, 6, 3, 7, 7, 2, 2, 8, 9, 3, 2, 6]}
    for split, expected in first.items():
        assert load_images("digits", split=split, with_labels=True, count=12)[1].tolist() == expected


def test_training_images_are_standardised() -> None:
    train = load_images("digits", split="train").double()
    assert train.mean().item() == pytest.approx(0, abs=1e-6)  # float32 rounding of values of order one
    assert train.std(correction=0).item() == pytest.approx(1, abs=1e-6)
    dataset = open_images("digits", split="test")
    raw = load_images("digits", split="train", normalize="none").double()
    assert dataset.mean == pytest.approx((raw.mean().item(),), rel=1e-6)
    assert dataset.std == pytest.approx((raw.std(correction=0).item(),), rel=1e-6)


def test_nothing_random_is_touched() -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    load_images("digits", split="train", count=3)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_a_model_in_colour_gets_three_equal_channels_at_its_size() -> None:
    images = load_images("digits", for_model="torchvision:squeezenet1_1", normalize="none", count=4)
    assert images.shape == (4, 3, 224, 224)
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])


def test_a_grey_model_of_ours_gets_the_digits_own_statistics() -> None:
    model = load_model("poolscope:minivgg", in_channels=1)
    assert torch.equal(load_images("digits", for_model=model, count=9), load_images("digits", count=9))


def test_the_models_statistics_go_before_the_digits_own() -> None:
    dataset = open_images("digits", for_model="poolscope:minivgg")
    assert dataset.shape == (3, 32, 32)
    assert dataset.mean == (0.4914, 0.4822, 0.4465)
    assert dataset.std == (0.2023, 0.1994, 0.2010)


def test_unknown_splits_are_refused() -> None:
    with pytest.raises(ValueError, match="split of digits must be train or test, or None for all; got 'val'"):
        load_images("digits", split="val")
