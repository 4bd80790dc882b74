"""Images as a stream of indexed batches, whoever yields them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    Subset,
    TensorDataset,
)

from helpers import seeded
from poolscope import Indexed, load_images, load_model, measure
from poolscope.sensitivity.source import DatasetSource, LoaderSource, Source, TensorSource, open_source

IMAGES = torch.rand(23, 3, 8, 8, generator=seeded(0))
LABELS = torch.arange(23) % 10


def stream(source: Source, size: int) -> tuple[Tensor, Tensor]:
    parts = list(source.batches(size))
    return torch.cat([images for images, _ in parts]), torch.cat([indices for _, indices in parts])


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(IMAGES)


SOURCES = {
    "tensor": lambda: TensorSource(IMAGES),
    "dataset": lambda: DatasetSource(TensorDataset(IMAGES, LABELS)),
    "loader": lambda: LoaderSource(DataLoader(TensorDataset(IMAGES, LABELS), batch_size=5)),
    "loader of ones": lambda: LoaderSource(DataLoader(TensorDataset(IMAGES, LABELS), batch_size=1)),
    "stream": lambda: LoaderSource(DataLoader(Stream(), batch_size=5)),
    "stream of ones": lambda: LoaderSource(DataLoader(Stream(), batch_size=1)),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_image_once_with_its_index(kind: str) -> None:
    source = SOURCES[kind]()
    images, indices = stream(source, 7)
    assert torch.equal(images, IMAGES)
    assert torch.equal(indices, torch.arange(23))
    assert torch.equal(source.first(16), IMAGES[:16])
    assert torch.equal(source.first(99), IMAGES)
    assert source.total() == (None if "stream" in kind else 23)


def test_a_tensor_comes_in_batches_of_the_size_asked_for() -> None:
    for source in (TensorSource(IMAGES), DatasetSource(TensorDataset(IMAGES))):
        assert [len(images) for images, _ in source.batches(10)] == [10, 10, 3]


SHUFFLED = {
    "shuffle": lambda data: DataLoader(data, batch_size=5, shuffle=True, generator=seeded(1)),
    "sampler": lambda data: DataLoader(data, batch_size=5, sampler=list(range(22, -1, -1))),
    "batch sampler": lambda data: DataLoader(
        data, batch_sampler=type("Own", (BatchSampler,), {})(SequentialSampler(data), 5, False)
    ),
}


@pytest.mark.parametrize("how", SHUFFLED)
def test_a_shuffling_loader_says_which_image_is_which(how: str) -> None:
    source = LoaderSource(SHUFFLED[how](Indexed(TensorDataset(IMAGES, LABELS))))
    images, indices = stream(source, 7)
    assert sorted(indices.tolist()) == list(range(23))
    assert torch.equal(images, IMAGES[indices])
    assert torch.equal(source.first(4), IMAGES[:4])  # the lowest indices, whatever the order
    assert source.shuffles


def test_indices_from_the_end_count_from_the_start() -> None:
    dataset = Indexed(TensorDataset(IMAGES, LABELS))
    assert dataset[-1][2] == 22
    assert torch.equal(dataset[-1][0], IMAGES[22])


@pytest.mark.parametrize("how", SHUFFLED)
@pytest.mark.parametrize(
    ("dataset", "got"),
    [
        (TensorDataset(IMAGES), "got a list of Tensor"),
        (TensorDataset(IMAGES, LABELS), "got repeated indices"),
        (TensorDataset(IMAGES, LABELS.float()), "got a list of Tensor, Tensor"),
        (TensorDataset(IMAGES, torch.stack([LABELS, LABELS], dim=1)), "got a list of Tensor, Tensor"),
        (TensorDataset(IMAGES, LABELS - 100), "got a list of Tensor, Tensor"),
    ],
    ids=["no second entry", "labels", "floating point", "pairs", "negative"],
)
def test_a_shuffling_loader_without_indices_is_refused(how: str, dataset: Dataset, got: str) -> None:
    with pytest.raises(
        ValueError, match=f"a shuffling DataLoader must yield each image's index.*poolscope.Indexed.*{got}"
    ):
        measure(nn.ReLU(), SHUFFLED[how](dataset), progress=False)


def test_a_plain_loader_needs_none() -> None:
    """Labels that could pass for indices are left alone where the order is known."""
    _, indices = stream(LoaderSource(DataLoader(TensorDataset(IMAGES, LABELS), batch_size=5)), 5)
    assert indices.tolist() == list(range(23))


def test_images_hide_in_tuples_and_dicts() -> None:
    for key in ("image", "images", "pixel_values", "img"):
        items = [{"label": 3, key: image} for image in IMAGES]
        assert torch.equal(DatasetSource(Subset(items, range(23))).first(5), IMAGES[:5])
    nested = [((image, 1), 2) for image in IMAGES]
    assert torch.equal(DatasetSource(Subset(nested, range(23))).first(5), IMAGES[:5])


def test_what_holds_no_images_is_refused() -> None:
    with pytest.raises(TypeError, match="must give images as tensors, alone or first in a tuple; got str"):
        measure(nn.ReLU(), Subset([("file.png", 1)] * 9, range(9)), progress=False)
    with pytest.raises(TypeError, match=r"must give images as tensors.*; got dict"):
        measure(nn.ReLU(), Subset([{"picture": IMAGES[0]}] * 9, range(9)), progress=False)
    with pytest.raises(ValueError, match="must yield at least one batch of images; got none"):
        measure(nn.ReLU(), DataLoader(type("Empty", (Stream,), {"__iter__": lambda self: iter(())})()), progress=False)
    with pytest.raises(TypeError, match=r"floating point.*got torch\.uint8"):
        measure(nn.ReLU(), TensorDataset((IMAGES * 255).to(torch.uint8)), progress=False)
    with pytest.raises(TypeError, match=r"images must be a tensor .*; got ndarray"):
        open_source(IMAGES.numpy())


def assert_a_name_is_its_images(name: str) -> None:
    images = load_images(name)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(images.shape[1], 4, 3), nn.ReLU())
    named, held = (measure(model, each, progress=False) for each in (name, images))
    assert named.record["data"] == name
    assert (named.table["images"] == len(images)).all()
    for column in ("D", "G", "R", "D_se"):
        assert named.table[column].to_numpy() == pytest.approx(held.table[column].to_numpy(), rel=1e-9)


def test_a_folders_name_gives_the_table_of_its_images(tmp_path: Path) -> None:
    pictures = torch.nn.functional.interpolate(IMAGES, size=(32, 32), mode="bilinear").mul(255).to(torch.uint8)
    for number, picture in enumerate(pictures):
        folder = tmp_path / f"class{number % 2}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / f"{number:02}.png")
    assert_a_name_is_its_images(f"imagefolder:{tmp_path}")


@pytest.mark.slow
def test_digits_by_name_give_the_table_of_the_digits() -> None:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn, an extra")
    assert_a_name_is_its_images("digits")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")
def test_a_worker_process_changes_nothing() -> None:
    """In a process of its own: pytest's own threads are no place to fork."""
    script = """
import json, torch
from torch.utils.data import DataLoader, TensorDataset
from poolscope.sensitivity.source import LoaderSource
images = torch.rand(23, 3, 8, 8, generator=torch.Generator().manual_seed(0))
loader = DataLoader(TensorDataset(images), batch_size=5, num_workers=1)
parts = list(LoaderSource(loader).batches(5))
print(json.dumps([torch.equal(torch.cat([p for p, _ in parts]), images), torch.cat([i for _, i in parts]).tolist()]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    same, indices = json.loads(done.stdout)
    assert same
    assert indices == list(range(23))


def test_names_and_folders_are_opened_for_the_model(tmp_path: Path) -> None:
    for number in range(3):
        pixels = torch.randint(0, 256, (40, 48, 3), dtype=torch.uint8, generator=seeded(number))
        Image.fromarray(pixels.numpy()).save(tmp_path / f"{number}.png")
    model = load_model("poolscope:minivgg", seed=0)  # wants 32x32, CIFAR-10's normalisation
    expected = load_images(f"imagefolder:{tmp_path}", for_model=model)
    assert expected.shape == (3, 3, 32, 32)
    for named in (tmp_path, str(tmp_path), f"imagefolder:{tmp_path}"):
        torch.testing.assert_close(open_source(named, model).first(3), expected, rtol=0, atol=0)
    table = measure(model, tmp_path, layers=["output"], progress=False).table
    assert table["D"].tolist() == measure(model, expected, layers=["output"], progress=False).table["D"].tolist()
