"""From stored pictures to tensors: sizes, cuts, channels and normalisation as torchvision and timm do them."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch.utils.data import DataLoader

from poolscope._torchvision import import_timm, import_torchvision
from poolscope.datasets import Indexed, load_images, open_images
from poolscope.networks import load_model

NORMALIZATIONS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def photograph(height: int, width: int, seed: int = 0) -> PIL.Image.Image:
    """Smooth colours with some noise on top."""
    random = np.random.default_rng(seed)
    coarse = PIL.Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height))).astype(int) + random.integers(-20, 20, (height, width, 3))
    return PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def store(folder: Path, *pictures: PIL.Image.Image) -> str:
    folder.mkdir(exist_ok=True)
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number:03}.png")
    return f"imagefolder:{folder}"


@pytest.mark.parametrize("name", ["squeezenet1_1", "inception_v3", "efficientnet_b1"])
def test_as_torchvisions_own_transforms(tmp_path: Path, name: str) -> None:
    pictures = [photograph(301, 402), photograph(500, 333), photograph(97, 150)]
    transforms = import_torchvision().models.get_model_weights(name).DEFAULT.transforms()
    expected = torch.stack([transforms(picture) for picture in pictures])
    images = load_images(store(tmp_path, *pictures), for_model=f"torchvision:{name}")
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-5)  # the same pixels; rounding of (x/255 - m)/s


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize(("size", "crop_pct"), [((224, 224), 0.95), ((96, 160), 0.9), ((160, 96), 1.0)])
def test_as_timms_own_transforms(tmp_path: Path, crop_mode: str, size: tuple[int, int], crop_pct: float) -> None:
    timm = import_timm()
    pictures = [photograph(301, 402), photograph(500, 333), photograph(97, 150)]
    model = timm.create_model("test_resnet", pretrained=False)
    model.pretrained_cfg |= {
        "input_size": (3, *size),
        "crop_pct": crop_pct,
        "crop_mode": crop_mode,
        "mean": (0.4, 0.5, 0.6),
    }
    transforms = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model))
    expected = torch.stack([transforms(picture) for picture in pictures])
    images = load_images(store(tmp_path, *pictures), for_model=model)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-5)


def test_size_resizes_the_shorter_side_and_cuts_the_middle(tmp_path: Path) -> None:
    spec = store(tmp_path, photograph(40, 60))
    whole = load_images(spec)
    torch.testing.assert_close(load_images(spec, size=(40, 50)), whole[..., 5:55], rtol=0, atol=0)
    assert load_images(spec, size=20).shape == (1, 3, 20, 20)
    small = photograph(40, 60).resize((30, 20), PIL.Image.Resampling.BILINEAR)
    expected = torch.tensor(np.asarray(small)[:, 5:25] / 255, dtype=torch.float32).permute(2, 0, 1)
    torch.testing.assert_close(load_images(spec, size=20)[0], expected, rtol=0, atol=1e-7)


def test_size_goes_before_the_models(tmp_path: Path) -> None:
    images = load_images(store(tmp_path, photograph(40, 60)), size=(24, 36), for_model="torchvision:squeezenet1_1")
    assert images.shape == (1, 3, 24, 36)


def test_different_sizes_need_a_size(tmp_path: Path) -> None:
    spec = store(tmp_path, photograph(40, 60), photograph(40, 60), photograph(41, 60))
    with pytest.raises(ValueError, match=r"one size, or size=.*image 0 of .* is 40x60, image 2 is 41x60"):
        load_images(spec)
    assert load_images(spec, size=32).shape == (3, 3, 32, 32)
    assert load_images(spec, count=2).shape == (2, 3, 40, 60)


def test_channels_are_converted_for_the_model(tmp_path: Path) -> None:
    picture = photograph(32, 32)
    grey = load_model("poolscope:minivgg", in_channels=1)
    images = load_images(store(tmp_path / "colour", picture), for_model=grey)
    # PIL rounds the same weights to whole bytes
    expected = torch.tensor(np.asarray(picture.convert("L")) / 255, dtype=torch.float32)
    torch.testing.assert_close(images[0, 0], expected, rtol=0, atol=0.6 / 255)
    grey_spec = store(tmp_path / "grey", picture.convert("L"))
    colour = load_images(grey_spec, for_model="poolscope:minivgg", normalize="none")
    torch.testing.assert_close(colour, expected.expand(1, 3, 32, 32), rtol=0, atol=1e-7)
    two = load_model("poolscope:minivgg", in_channels=2)
    with pytest.raises(ValueError, match=r"1 \(grey\) or 3 \(RGB\).*got 2"):
        load_images(grey_spec, for_model=two)


def test_stored_kinds_of_pictures(tmp_path: Path) -> None:
    picture = photograph(8, 9)
    bytes_ = np.asarray(picture).astype(np.float32) / 255
    deep = np.random.default_rng(1).integers(0, 2**16, (8, 9), dtype=np.uint16)
    cases = {
        "RGB": (picture, bytes_.transpose(2, 0, 1)),
        "RGBA": (picture.convert("RGBA"), bytes_.transpose(2, 0, 1)),
        "L": (picture.getchannel(0), bytes_[None, ..., 0]),
        "LA": (picture.getchannel(0).convert("LA"), bytes_[None, ..., 0]),
        "1": (picture.getchannel(0).point(lambda v: 255 * (v > 99), "1"), (bytes_[None, ..., 0] > 99 / 255) * 1.0),
        "P": (picture.quantize(4), np.asarray(picture.quantize(4).convert("RGB")).transpose(2, 0, 1) / 255),
        "I;16": (PIL.Image.fromarray(deep), deep[None] / 65535),
    }
    for kind, (stored, expected) in cases.items():
        images = load_images(store(tmp_path / kind, stored))
        torch.testing.assert_close(images[0], torch.tensor(expected, dtype=torch.float32), rtol=0, atol=1e-6)


def test_colour_after_grey_is_refused_and_grey_after_colour_is_not(tmp_path: Path) -> None:
    colour = photograph(8, 8)
    mixed = load_images(store(tmp_path / "a", colour, colour.convert("L")))
    assert torch.equal(mixed[1, 0], mixed[1, 2])
    spec = store(tmp_path / "b", colour.convert("L"), colour)
    with pytest.raises(ValueError, match=r"image 1 of .* is in colour"):
        load_images(spec)
    assert load_images(spec, size=32, for_model="poolscope:minivgg").shape == (2, 3, 32, 32)


@pytest.mark.parametrize("normalize", ["cifar10", "cifar100", "imagenet", ((0.1, 0.2, 0.3), [1.0, 2.0, 4.0])])
def test_normalisation(tmp_path: Path, normalize: str | tuple[tuple[float, ...], list[float]]) -> None:
    spec = store(tmp_path, photograph(8, 8))
    raw = load_images(spec)  # a folder has no statistics of its own
    assert torch.equal(raw, load_images(spec, normalize="none"))
    assert raw.min() >= 0
    assert raw.max() <= 1
    mean, std = NORMALIZATIONS[normalize] if isinstance(normalize, str) else normalize
    expected = torch.stack([(raw[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    torch.testing.assert_close(load_images(spec, normalize=normalize), expected, rtol=1e-6, atol=1e-6)
    # an explicit one goes before the model's
    assert open_images(spec, normalize=normalize, for_model="timm:test_resnet").mean == tuple(mean)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"normalize": "cifar"}, "auto, none, cifar10, cifar100, imagenet or a pair.*got 'cifar'"),
        ({"normalize": ((0.5,), (0.5,))}, "one std a channel, 3 here; got 1 and 1"),
        ({"normalize": ((0.5,) * 3, (0.5, 0.0, 0.5))}, "positive stds"),
        ({"count": 3}, r"count must be in 1 \.\. 2.*got 3"),
        ({"count": 0}, r"count must be in 1 \.\. 2.*got 0"),
        ({"size": 0}, "size must be at least 1 pixel"),
        ({"for_model": "timm:no_such_model"}, "unknown model"),
    ],
)
def test_bad_arguments_are_refused(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_images(store(tmp_path, photograph(8, 8), photograph(8, 8)), **arguments)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cifar_100", r"\(did you mean cifar100\?\)"),
        (
            "digit",
            r"digits, cifar10, .*FILE-or-DIR, scale-detection:...; got 'digit' \(did you mean digits\?\)",
        ),
        ("scale-detection:1", "must be like key=value .*got '1'$"),
        ("imagefolder:", r"got 'imagefolder:' \(did you mean imagefolder\?\)"),
        ("/", r"got '/' \(did you mean imagefolder:/\?\)"),
    ],
)
def test_unknown_specifications_are_refused(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_images(spec)


def test_the_data_set_works_in_a_loader_and_knows_its_indices(tmp_path: Path) -> None:
    spec = store(tmp_path, *(photograph(8, 8, seed) for seed in range(7)))
    images, labels = load_images(spec, with_labels=True)
    assert labels.tolist() == [-1] * 7
    dataset = open_images(spec)
    loader = DataLoader(Indexed(dataset), batch_size=3, shuffle=True, generator=torch.Generator().manual_seed(0))
    seen = []
    for batch, _, indices in loader:
        torch.testing.assert_close(batch, images[indices], rtol=0, atol=0)
        seen += indices.tolist()
    assert sorted(seen) == list(range(7))
    assert seen != list(range(7))
    assert Indexed(dataset)[-1][2] == 6
    assert torch.equal(dataset[-1][0], images[6])
    for outside in (7, -8):
        with pytest.raises(IndexError, match=str(outside)):
            dataset[outside]
    assert len(list(iter(dataset))) == 7


def test_the_description_says_what_was_done(tmp_path: Path) -> None:
    spec = store(tmp_path, photograph(300, 400))
    assert open_images(spec, for_model="torchvision:squeezenet1_1").description() == {
        "name": spec,
        "images": 1,
        "shape": [3, 224, 224],
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "resize": [256, 256],
        "interpolation": "bilinear",
        "crop": "center",
        "split": None,
        "folder": str(tmp_path),
        "files": 1,
    }
    assert open_images(spec).description()["resize"] is None
