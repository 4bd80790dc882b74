"""Tasks as data sets: the very images, labels and splits of `poolscope.tasks`, through every way of opening them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from poolscope import measure
from poolscope.datasets import load_images, open_arrays, open_images
from poolscope.datasets.scale_detection import task_moves
from poolscope.networks import load_model
from poolscope.networks.simple import SimpleCNN
from poolscope.perturb import PixelShift
from poolscope.tasks import ScaleDetection, Split, format_name, parse

ROWS = "scale-detection:task=1,dim=1,length=32,scale=11,gap=4"
SQUARES = "scale-detection:task=1,dim=2,length=6,scale=3,gap=1"
NAMES = [
    ROWS,
    "scale-detection",
    "scale-detection:task=2,length=16,scale=4",
    SQUARES,
    SQUARES + ",padding=2,pixel=published",
    "scale-detection:task=2,dim=2,length=4,scale=2,labels=opposite,pixel=0.3",
    "scale-detection:length=9,scale=3,pixel=392,boundary=open",
]


@pytest.mark.parametrize("name", NAMES)
def test_images_and_labels_are_the_tasks(name: str) -> None:
    task, _ = parse(name if ":" in name else f"{name}:")
    before = torch.get_rng_state()
    images, labels = load_images(name, with_labels=True)
    assert torch.equal(torch.get_rng_state(), before)
    exact = task.images(task.pairs, dtype=torch.float64)
    assert images.dtype == torch.float32
    assert images.shape == exact.shape == (sum(task.counts), *task.shape)
    # The value is one over a standard deviation, each rounded once: 2 float32 eps at most; the background is 0.
    torch.testing.assert_close(images.double(), exact, rtol=3e-7, atol=0)
    assert torch.equal(labels, (task.labels_of(task.pairs) + 1) // 2)
    assert labels.sum().item() == task.counts[0]


def test_shapes_and_counts_of_the_text() -> None:
    assert load_images(ROWS).shape == (336, 1, 32)
    assert len(open_images("scale-detection:task=2,length=128,scale=32")) == 1984 + 6144
    squares = open_images("scale-detection:task=1,dim=2,length=12,scale=5,gap=2,padding=1")
    assert squares.shape == squares[0][0].shape == (1, 14, 14)
    dataset = open_images(ROWS)
    assert dataset.shape == dataset[-1][0].shape == (1, 32)
    assert dataset.classes == ("-1", "+1")
    assert dataset.name == ROWS


@pytest.mark.parametrize("base", [ROWS, SQUARES])
@pytest.mark.parametrize("share", ["train=48", "train=20,test=12,seed=5", "train=30,test=20,balance=none,seed=1"])
def test_splits_are_those_of_the_name(base: str, share: str) -> None:
    name = f"{base},{share}"
    task, split = parse(name)
    assert split is not None
    everything = load_images(name)
    assert torch.equal(everything, load_images(base))
    for part, rows in zip(("train", "test"), split.of(task), strict=True):
        images, labels = load_images(name, split=part, with_labels=True)
        assert torch.equal(images, everything[rows])
        assert torch.equal(labels, (task.labels_of(task.pairs[rows]) > 0).long())
    other = load_images(f"{base},train=48,seed=77", split="train")
    assert not torch.equal(other, load_images(f"{base},train=48", split="train"))


def test_names_are_told_in_full() -> None:
    dataset = open_images("scale-detection:train=48,gap=4,length=32", split="train")
    assert dataset.name == format_name(ScaleDetection(length=32, gap=4.0), Split(48))
    description = dataset.description()
    assert (description["task"], description["split"]) == (dataset.name, "train")
    assert (description["images"], description["shape"]) == (48, [1, 32])


def test_count_takes_the_first_and_none_leaves_white_on_black() -> None:
    assert torch.equal(load_images(ROWS, count=7), load_images(ROWS)[:7])
    white = load_images(ROWS, normalize="none")
    assert white.unique().tolist() == [0, 1]
    assert (white.sum((1, 2)) == 2).all()


@pytest.mark.parametrize("name", [ROWS, SQUARES])
def test_a_model_in_colour_gets_three_channels_but_the_tasks_size_and_values(name: str) -> None:
    images = load_images(name, for_model="torchvision:squeezenet1_1", count=5)
    grey = load_images(name, count=5)
    assert images.shape == (5, 3, *grey.shape[2:])
    for channel in range(3):
        assert torch.equal(images[:, channel], grey[:, 0])
    one = load_model("poolscope:minivgg", in_channels=1)
    assert torch.equal(load_images(name, for_model=one, count=5), grey)


@pytest.mark.parametrize("name", [ROWS, SQUARES])
def test_frozen_noise_has_its_norm_and_its_image(name: str) -> None:
    noisy, clean = (load_images(name, eta=eta, noise_seed=3, count=200).double() for eta in (2.0, 0.0))
    noise = (noisy - clean).flatten(1)
    power = noise.square().sum(1)
    pixels = noise.shape[1]
    # The expected norm is 2; the expected square exceeds its square by about 1 / (2 pixels).
    error = power.std().item() / len(power) ** 0.5
    assert error < 0.05 * 4
    assert abs(power.mean().item() - 4 * (1 + 1 / (2 * pixels))) < 4 * error
    assert torch.equal(load_images(name, eta=2.0, noise_seed=3, count=9).double(), noisy[:9])


WRONG: list[tuple[str, dict[str, Any], str]] = [
    (ROWS, {"size": 8}, "a task's size is its length, size must be left out; got size=8 for 'scale-detection:.*'"),
    (SQUARES, {"size": (6, 6)}, r"a task's size is its length, size must be left out; got size=\(6, 6\)"),
    (ROWS, {"split": "train"}, r"split 'train' needs a task whose name says train=.*; got 'scale-detection:.*gap=4'"),
    (f"{ROWS},train=48", {"split": "validation"}, "must be train or test, or None for all; got 'validation'"),
    (f"{ROWS},colour=1", {}, r"fields of scale-detection: must be .*; got 'colour=1'"),
    ("scale-detection:length=2", {}, "length must be a whole number of pixels, 3 or more; got 2"),
    (ROWS, {"count": 337}, r"count must be in 1 \.\. 336"),
    ("scale-detect", {}, r"images must be one of .*; got 'scale-detect' \(did you mean scale-detection\?\)"),
]


@pytest.mark.parametrize(("name", "options", "message"), WRONG)
def test_wrong_names_and_options_are_one_line(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load_images(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("split", ["train", "test", None])
def test_squares_as_arrays_from_the_cache(tmp_path: Path, split: str | None) -> None:
    name = f"{SQUARES},padding=1,train=24,test=10"
    images, labels = load_images(name, split=split, with_labels=True)
    digests = set()
    for _ in range(2):  # decoded, then from the cache
        arrays = open_arrays(name, split=split, cache=tmp_path)
        assert torch.equal(arrays.normalised(), images)
        assert torch.equal(arrays.labels, labels)
        assert arrays.images.dtype == torch.uint8
        assert (arrays.name, arrays.number_of_classes) == (name, 2)
        digests.add(arrays.digest)
    assert len(digests) == 1


def test_entries_of_different_tasks_and_splits_are_not_mixed_up(tmp_path: Path) -> None:
    names = [
        f"{SQUARES},train=24,test=10",
        f"{SQUARES},train=24,test=10,seed=1",
        f"{SQUARES},padding=1,train=24,test=10",
    ]
    found = {}
    for name in names:
        for split in ("train", "test"):
            arrays = open_arrays(name, split=split, cache=tmp_path)
            assert torch.equal(arrays.normalised(), load_images(name, split=split))
            found[name, split] = arrays.digest
    assert len(set(found.values())) == len(found)


def test_rows_are_no_arrays_of_images(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"rows of pixels are not kept as arrays of images.*got 'scale-detection:"):
        open_arrays(ROWS, cache=tmp_path)
    assert not any(tmp_path.iterdir())


def test_measured_by_name() -> None:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"deformation": PixelShift(), "progress": False, "seed": 3}
    for name, dim in (
        ("scale-detection:task=1,dim=1,length=12,scale=4,gap=0", 1),
        ("scale-detection:task=2,dim=2,length=4,scale=2", 2),
    ):
        model = SimpleCNN(dim=dim, depth=2, channels=3)
        found = measure(model, name, **settings)
        assert found.record["data"] == name
        expected = measure(model, load_images(name), **settings).table
        for column in ("D", "G", "R"):
            assert found.table[column].tolist() == pytest.approx(expected[column].tolist(), rel=1e-6)
    with pytest.raises(ValueError, match="for a smooth deformation"):
        measure(SimpleCNN(depth=2, channels=3), ROWS, progress=False)


@pytest.mark.parametrize(
    ("name", "edge", "margin"),
    [(ROWS, "wrap", 0), (f"{ROWS},boundary=open,padding=1", "clamp", 1), (f"{SQUARES},padding=2", "clamp", 2)],
)
def test_a_tasks_own_moves(name: str, edge: Any, margin: int) -> None:
    size = (1, 32 + 2 * margin) if "dim=1" in name else (10, 10)
    for moves in ("neighbour-or-stay", "left-right"):
        expected = PixelShift(moves, edge=edge, margin=margin)  # type: ignore[arg-type]
        assert task_moves(name, moves).describe(size) == expected.describe(size)  # type: ignore[arg-type]
    assert task_moves(name).moves == "neighbour-or-stay"
    if "dim=1" in name:
        with pytest.raises(ValueError, match="moves must be left-right or neighbour-or-stay on rows"):
            task_moves(name, "rounded-direction")
