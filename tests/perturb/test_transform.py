"""The torchvision transform: what moves together, what passes, and what a data loader needs."""

import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from poolscope._torchvision import import_torchvision
from poolscope.perturb import Diffeomorphism, temperature_range, warp
from poolscope.perturb.transform import RandomDiffeomorphism, _beta

import_torchvision()
from torchvision import tv_tensors  # noqa: E402
from torchvision.transforms import v2  # noqa: E402


def drawn_field(transform: RandomDiffeomorphism, inputs: list[object], seed: int) -> torch.Tensor:
    """Return the field which ``transform`` draws after ``torch.manual_seed(seed)``."""
    torch.manual_seed(seed)
    return transform.make_params(inputs)["field"]


def picture(height: int = 24, width: int = 30, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (channels, height, width), generator=torch.Generator().manual_seed(0)).byte()


def test_image_and_mask_move_along_the_same_field():
    transform = RandomDiffeomorphism(0.8)
    image = tv_tensors.Image(picture().float() / 255)
    mask = tv_tensors.Mask(torch.arange(24 * 30).reshape(24, 30))
    field = drawn_field(transform, [image, mask], seed=3)
    assert field.abs().max() > 0.5
    torch.manual_seed(3)
    moved, moved_mask = transform(image, mask)
    assert isinstance(moved, tv_tensors.Image)
    assert isinstance(moved_mask, tv_tensors.Mask)
    assert torch.equal(moved.as_subclass(torch.Tensor), warp(image.as_subclass(torch.Tensor), field))
    # Each mask value names a pixel: the mask must hold the pixel nearest to the source position.
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(30.0), indexing="ij")
    expected = (y - field[1]).round().clamp(0, 23) * 30 + (x - field[0]).round().clamp(0, 29)
    assert torch.equal(moved_mask.as_subclass(torch.Tensor), expected.long())
    assert (moved_mask != mask).any()


def test_stacked_masks_and_samples_as_dictionaries():
    transform = RandomDiffeomorphism(0.8)
    masks = tv_tensors.Mask(torch.rand(2, 24, 30) < 0.5)
    sample = {"image": tv_tensors.Image(picture()), "masks": masks, "label": 3, "name": "cat"}
    torch.manual_seed(0)
    moved = transform(sample)
    assert (moved["label"], moved["name"]) == (3, "cat")
    assert moved["masks"].dtype == torch.bool
    assert moved["masks"].shape == (2, 24, 30)
    field = drawn_field(transform, [sample["image"]], seed=0)
    expected = warp(masks.as_subclass(torch.Tensor).double(), field, interpolation="nearest").bool()
    assert torch.equal(moved["masks"].as_subclass(torch.Tensor), expected)


@pytest.mark.parametrize("kind", [tv_tensors.Image, tv_tensors.Video, torch.Tensor])
def test_bytes_stay_bytes_and_are_rounded(kind: type):
    transform = RandomDiffeomorphism(0.8)
    plain = picture() if kind is not tv_tensors.Video else picture()[None].expand(5, 3, 24, 30)
    image = plain if kind is torch.Tensor else kind(plain)
    field = drawn_field(transform, [image], seed=1)
    torch.manual_seed(1)
    moved = transform(image)
    assert type(moved) is kind
    assert moved.dtype == torch.uint8
    exact = warp(plain.double(), field)
    assert (moved.as_subclass(torch.Tensor).double() - exact).abs().max() < 0.5 + 1e-3  # float32 positions
    assert torch.equal(image, plain)


def test_float_images_and_single_planes():
    transform = RandomDiffeomorphism(0.8)
    for image in (torch.rand(24, 30), torch.rand(1, 24, 30), torch.rand(4, 3, 24, 30), torch.rand(3, 24, 30).double()):
        field = drawn_field(transform, [image], seed=1)
        torch.manual_seed(1)
        moved = transform(image)
        assert (moved.shape, moved.dtype) == (image.shape, image.dtype)
        with_channel = image[None] if image.ndim == 2 else image
        assert torch.equal(moved, warp(with_channel, field).reshape(image.shape))  # a batch shares one field


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "F", "I"])
def test_pil_images(mode: str):
    transform = RandomDiffeomorphism(0.8)
    image = Image.fromarray(picture().permute(1, 2, 0).numpy()).convert(mode)
    field = drawn_field(transform, [image], seed=2)
    torch.manual_seed(2)
    moved = transform(image)
    assert isinstance(moved, Image.Image)
    assert (moved.mode, moved.size) == (mode, (30, 24))
    pixels = torch.from_numpy(np.array(image).reshape(24, 30, -1)).permute(2, 0, 1).double()
    result = torch.from_numpy(np.array(moved).reshape(24, 30, -1)).permute(2, 0, 1).double()
    assert (result - warp(pixels, field)).abs().max() < 0.5 + 1e-3
    assert (result - pixels).abs().max() > 20


@pytest.mark.parametrize("mode", ["P", "1", "I;16"])
def test_pil_images_without_values_in_between_are_refused(mode: str):
    image = Image.new(mode, (16, 16))
    with pytest.raises(ValueError, match=rf"mode between whose values.*got '{mode}' \(convert it first\)"):
        RandomDiffeomorphism(0.5)(image)


def test_boxes_and_key_points_pass():
    image = tv_tensors.Image(picture())
    boxes = tv_tensors.BoundingBoxes([[1, 2, 10, 12]], format="XYXY", canvas_size=(24, 30))
    sample = [image, boxes]
    if hasattr(tv_tensors, "KeyPoints"):
        sample.append(tv_tensors.KeyPoints([[3.0, 4.0], [5.0, 6.0]], canvas_size=(24, 30)))
    moved = RandomDiffeomorphism(0.8)(sample)
    assert not torch.equal(moved[0], image)
    for before, after in zip(sample[1:], moved[1:], strict=True):
        assert after is before


def test_probability():
    image = picture()
    torch.manual_seed(0)
    assert RandomDiffeomorphism(0.8, p=0.0)(image) is image
    half = RandomDiffeomorphism(0.8, p=0.5)
    moved = sum(not torch.equal(half(image), image) for _ in range(300))
    assert abs(moved - 150) < 5 * math.sqrt(75)
    always = RandomDiffeomorphism(0.8)
    assert all(not torch.equal(always(image), image) for _ in range(20))


def test_samples_are_independent_and_follow_the_global_seed():
    transform, image = RandomDiffeomorphism(0.8), picture()
    torch.manual_seed(0)
    first, second = transform(image), transform(image)
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(transform(image), first)


def test_fields_have_the_displacement_asked_for():
    transform = RandomDiffeomorphism(0.7, 3)
    torch.manual_seed(0)
    power = torch.stack([transform.make_params([picture()])["field"].square().sum(dim=0).mean() for _ in range(800)])
    assert abs(power.mean() - 0.49) < 5 * power.std() / len(power) ** 0.5
    assert power.std() / len(power) ** 0.5 < 0.02 * 0.49


class Random(torch.utils.data.Dataset):
    """Four equal images, transformed."""

    def __init__(self, transform: v2.Transform):
        self.transform = transform

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(picture())


def test_a_composition_survives_pickling():
    transform = v2.Compose([RandomDiffeomorphism(0.8), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32)])
    copied = pickle.loads(pickle.dumps(transform))
    torch.manual_seed(0)
    expected = transform(picture())
    torch.manual_seed(0)
    assert torch.equal(copied(picture()), expected)
    assert "RandomDiffeomorphism" in repr(transform)


def test_workers_of_a_loader_draw_different_fields():
    loader = torch.utils.data.DataLoader(
        Random(RandomDiffeomorphism(0.8)), batch_size=1, num_workers=2, generator=torch.Generator().manual_seed(0)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking a process that has threads
        moved = torch.cat(list(loader))
    assert len(torch.unique(moved.flatten(1), dim=0)) == 4


@pytest.mark.parametrize("size", [(32, 32), (10, 24)])
@pytest.mark.parametrize("largest", [1.0, 0.25])
def test_published_sampling_stays_in_its_range(size: tuple[int, int], largest: float, monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[int, float]] = []
    sample = Diffeomorphism.sample

    def spy(self: Diffeomorphism, batch: int, size: tuple[int, int], **options: object) -> torch.Tensor:
        seen.append((self.cutoff, self.temperature(size)))
        return sample(self, batch, size, **options)

    monkeypatch.setattr(Diffeomorphism, "sample", spy)
    transform = RandomDiffeomorphism(sampling="published", cutoffs=(2, 15), largest=largest)
    torch.manual_seed(0)
    for _ in range(400):
        field = transform.make_params([torch.rand(3, *size)])["field"]
        assert field.shape == (2, *size)
    side = min(size)
    for cutoff, temperature in seen:
        coldest, hottest = temperature_range(side, cutoff)
        assert coldest * (1 - 1e-9) <= temperature <= max(coldest, largest * hottest) * (1 + 1e-9)
    counts = torch.bincount(torch.tensor([cutoff for cutoff, _ in seen]), minlength=16)
    allowed = range(2, min(15, side - 2) + 1)
    assert counts.nonzero().flatten().tolist() == list(allowed)
    # s = 2, r = 1: Beta(1, 1), uniform. Each cutoff is as likely as the next.
    expected = 400 / len(allowed)
    assert (counts[2 : allowed.stop] - expected).abs().max() < 5 * math.sqrt(expected)


def test_published_sampling_shares_of_temperature():
    # Beta(α, β) with α + β = s, α / β = r: mean r / (1 + r), variance αβ / (s² (s + 1)).
    torch.manual_seed(0)
    draws = torch.tensor([_beta(4.0, 3.0) for _ in range(2000)])
    assert abs(draws.mean() - 0.75) < 5 * draws.std() / len(draws) ** 0.5
    assert draws.var().item() == pytest.approx(3 * 1 / (16 * 5), rel=0.2)  # 20 % are 6 errors


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": 1.5}, r"p must be a probability in 0 \.\. 1; got 1.5"),
        ({"p": math.nan}, r"p must be a probability.*got nan"),
        ({"sampling": "beta"}, r"sampling must be one of fixed, published; got 'beta'"),
        ({"cutoffs": (1, 5)}, r"2 <= lowest <= highest, since ln 1 = 0; got \(1, 5\)"),
        ({"cutoffs": (7, 5)}, r"2 <= lowest <= highest.*got \(7, 5\)"),
        ({"displacement": -1.0}, r"displacement must be finite and not negative; got -1"),
        ({"temperature_beta": (0.0, 1.0)}, r"temperature_beta must be finite and positive; got 0"),
        ({"cutoff_beta": (2.0, -1.0)}, r"cutoff_beta must be finite and positive; got -1"),
        ({"largest": 0.0}, r"largest must be finite and positive; got 0"),
    ],
)
def test_what_is_refused(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        RandomDiffeomorphism(**options)


def test_a_cutoff_too_high_for_the_image_is_refused():
    with pytest.raises(ValueError, match=r"= 2, the modes 4x30 pixels resolve; got 3"):
        RandomDiffeomorphism(0.5, 3)(torch.rand(3, 4, 30))
