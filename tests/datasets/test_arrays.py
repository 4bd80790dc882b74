"""Data sets as arrays: the very images and labels that come one by one, as bytes where bytes hold them."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poolscope.datasets import Arrays, load_images, normalise, open_arrays, open_images

KINDS = ["RGB", "L", "F", "RGBA", "I;16"]


def picture(kind: str, height: int, width: int, seed: int) -> PIL.Image.Image:
    random = np.random.default_rng(seed)
    if kind == "I;16":
        return PIL.Image.fromarray(random.integers(0, 2**16, (height, width), dtype=np.uint16))
    if kind == "F":
        return PIL.Image.fromarray(random.random((height, width), dtype=np.float32))
    return PIL.Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(kind)


def folder(path: Path, *pictures: PIL.Image.Image, classes: int = 0) -> str:
    """An imagefolder of the pictures, in so many classes or in none."""
    for number, stored in enumerate(pictures):
        below = path / f"class{number % classes}" if classes else path
        below.mkdir(exist_ok=True, parents=True)
        stored.save(below / f"{number:04}.tiff")
    return f"imagefolder:{path}"


def check_equal(arrays: Arrays, spec: str, **arguments: Any) -> None:
    """All that `load_images` and `open_images` give for the same arguments, bit for bit."""
    images, labels = load_images(spec, with_labels=True, **arguments)
    assert torch.equal(arrays.normalised(), images)
    assert arrays.normalised().dtype == torch.float32
    assert torch.equal(arrays.labels, labels)
    dataset = open_images(spec, **arguments)
    assert (arrays.name, arrays.classes) == (dataset.name, dataset.classes)
    assert (arrays.mean, arrays.std, arrays.origin) == (dataset.mean, dataset.std, dataset.description())
    some = torch.arange(len(arrays) - 1, -1, -2)
    assert torch.equal(arrays.normalised(some), images[some])


@pytest.mark.parametrize("split", ["train", "test", None])
def test_digits(tmp_path: Path, split: str | None) -> None:
    for _ in range(2):  # decoded, then from the cache
        arrays = open_arrays("digits", split=split, cache=tmp_path)
        check_equal(arrays, "digits", split=split)
        assert arrays.images.dtype == torch.float32  # resized in floats, deeper than bytes
        assert arrays.number_of_classes == 10


@pytest.mark.parametrize("arguments", [{}, {"size": (20, 12), "normalize": "imagenet"}, {"count": 5}])
def test_a_folder(tmp_path: Path, arguments: dict[str, Any]) -> None:
    spec = folder(tmp_path / "a", *(picture("RGB", 24, 16, seed) for seed in range(300)), classes=3)
    for _ in range(2):
        arrays = open_arrays(spec, cache=tmp_path / "cache", **arguments)
        check_equal(arrays, spec, **arguments)
        assert arrays.images.dtype == torch.uint8
        assert arrays.number_of_classes == 3


def test_cifar10_in_parquet_files(shared_data: Path, tmp_path: Path) -> None:
    spec, arguments = (
        f"parquet:{shared_data / 'cifar10-jpeg'}",
        {"split": "train", "count": 600, "normalize": "cifar10"},
    )
    for _ in range(2):
        arrays = open_arrays(spec, cache=tmp_path, **arguments)
        check_equal(arrays, spec, **arguments)
        assert arrays.images.dtype == torch.uint8
        assert arrays.number_of_classes == 10


@pytest.mark.parametrize("model", ["poolscope:minivgg", "timm:test_resnet"])
def test_what_a_model_wants(tmp_path: Path, model: str) -> None:
    spec = folder(tmp_path / "a", *(picture(kind, 40, 50, 1) for kind in ("RGB", "L")))
    check_equal(open_arrays(spec, for_model=model, cache=tmp_path / "cache"), spec, for_model=model)


def test_colours_turned_to_grey_are_not_rounded_to_bytes(tmp_path: Path) -> None:
    from poolscope.networks import load_model

    model = load_model("poolscope:minivgg", in_channels=1)
    spec = folder(tmp_path / "a", *(picture("RGB", 32, 32, seed) for seed in range(3)))
    arrays = open_arrays(spec, for_model=model, cache=tmp_path / "cache")
    assert arrays.images.dtype == torch.float32
    check_equal(arrays, spec, for_model=model)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=6),
    side=st.integers(1, 6),
    size=st.sampled_from([None, 4]),
)
def test_every_mixture_of_stored_pictures(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], side: int, size: int | None
) -> None:
    path = tmp_path_factory.mktemp("mixture")
    spec = folder(path / "a", *(picture(kind, side, side + 1, seed) for seed, kind in enumerate(kinds)))
    if kinds[0] not in ("RGB", "RGBA") and {"RGB", "RGBA"} & set(kinds):
        for opener in (load_images, open_arrays):
            with pytest.raises(ValueError, match="is in colour"):
                opener(spec, size=size, **({} if opener is load_images else {"cache": path / "cache"}))
        return
    for _ in range(2):
        arrays = open_arrays(spec, size=size, cache=path / "cache")
        check_equal(arrays, spec, size=size)
        assert arrays.images.dtype == (torch.float32 if {"F", "I;16"} & set(kinds) else torch.uint8)
        assert arrays.labels.tolist() == [-1] * len(kinds)
        assert arrays.number_of_classes == 0


def test_every_byte_is_normalised_as_defined() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, 16, 16)
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    found = normalise(pixels, mean, std)
    for channel in range(3):
        for value in (0, 1, 100, 254, 255):
            unit = np.float32(value) / np.float32(255)
            expected = (unit - np.float32(mean[channel])) / np.float32(std[channel])
            assert found[1, channel].flatten()[value].item() == expected  # three roundings, each to nearest
    assert torch.equal(normalise(pixels, None, None), pixels / 255)
    floats = torch.rand(2, 3, 4, 4)
    before = floats.clone()
    assert torch.equal(normalise(floats, mean, std)[:, 1], (before[:, 1] - mean[1]) / std[1])
    assert torch.equal(floats, before)


@pytest.mark.gpu
def test_a_gpu_normalises_to_the_same_bits() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    assert torch.equal(normalise(pixels.cuda(), mean, std).cpu(), normalise(pixels, mean, std))


def test_writing_to_the_images_leaves_the_cache_as_it_is(tmp_path: Path) -> None:
    first = open_arrays("digits", cache=tmp_path, count=20)
    first = open_arrays("digits", cache=tmp_path, count=20)  # from the cache, so memory-mapped
    first.images.zero_()
    first.labels.zero_()
    check_equal(open_arrays("digits", cache=tmp_path, count=20), "digits", count=20)


def test_the_digest_tells_images_and_labels_apart(tmp_path: Path) -> None:
    pictures = [picture("RGB", 8, 8, seed) for seed in range(4)]
    specs = [
        folder(tmp_path / "a", *pictures, classes=2),
        folder(tmp_path / "b", *pictures, classes=2),
        folder(tmp_path / "c", *pictures),  # other labels
        folder(tmp_path / "d", *pictures[::-1], classes=2),
    ]
    a, b, c, d = (open_arrays(spec, cache=tmp_path / "cache").digest for spec in specs)
    assert a == b
    assert len({a, c, d}) == 3
    assert open_arrays(specs[0], cache=tmp_path / "cache").digest == a  # read, not decoded
    assert open_arrays(specs[0], cache=tmp_path / "cache", normalize="imagenet").digest == a


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("POOLSCOPE_CACHE", raising=False)
    open_arrays("digits", count=2)
    assert len(list((tmp_path / "home/.cache/poolscope/arrays").iterdir())) == 1
    monkeypatch.setenv("POOLSCOPE_CACHE", str(tmp_path / "named"))
    open_arrays("digits", count=2)
    assert len(list((tmp_path / "named").iterdir())) == 1
    open_arrays("digits", count=2, cache=tmp_path / "given")
    assert len(list((tmp_path / "given").iterdir())) == 1


def test_wrong_parquet_files_are_refused_in_one_line(tmp_path: Path) -> None:
    table = pa.table({"label": [1, 2], "path": ["a.png", "b.png"]})
    pq.write_table(table, tmp_path / "no_images.parquet")
    pq.write_table(pa.table({"image": [b"not a picture"]}), tmp_path / "no_picture.parquet")
    whole = (tmp_path / "no_images.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.parquet").write_text("a,b\n1,2\n")
    for name, message in {
        "no_images": "needs a column of encoded images.*has the columns label, path",
        "no_picture": "needs images that can be decoded; row 0",
        "cut": "needs an undamaged Parquet file",
        "text": "needs an undamaged Parquet file",
    }.items():
        with pytest.raises(ValueError, match=message) as caught:
            open_arrays(f"parquet:{tmp_path / name}.parquet", cache=tmp_path / "cache")
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="needs an existing file or folder"):
        open_arrays(f"parquet:{tmp_path / 'absent'}.parquet", cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
