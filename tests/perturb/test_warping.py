"""Resampling against slow per-pixel loops, and whole-pixel moves bit for bit."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import seeded
from poolscope.perturb import warp

BOTH_EXACT = pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
BOTH_PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def tent(t: float) -> float:
    return 1 - abs(t)


def keys(t: float) -> float:
    """Return Keys' cubic kernel with A = -3/4 at distance t."""
    a, t = -0.75, abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0


def slow_warp(image: np.ndarray, field: np.ndarray, interpolation: str) -> np.ndarray:
    """Read ``image`` [C, H, W] at (x - dx, y - dy), clamped at the frame, pixel by pixel."""
    height, width = image.shape[-2:]
    moved = np.empty_like(image)
    for row in range(height):
        for column in range(width):
            x = min(max(column - field[0, row, column], 0), width - 1)
            y = min(max(row - field[1, row, column], 0), height - 1)
            left, top = math.floor(x), math.floor(y)
            if interpolation == "nearest":
                reads = [(round(y), round(x), 1.0)]
            elif interpolation == "bilinear":
                kernel, steps = tent, (0, 1)
            else:
                kernel, steps = keys, (-1, 0, 1, 2)
            if interpolation != "nearest":
                reads = [(top + j, left + i, kernel(y - top - j) * kernel(x - left - i)) for i in steps for j in steps]
            moved[:, row, column] = sum(
                weight * image[:, min(max(r, 0), height - 1), min(max(c, 0), width - 1)] for r, c, weight in reads
            )
    return moved


@BOTH_EXACT
@given(
    height=st.integers(3, 9), width=st.integers(3, 9), size=st.sampled_from([0.4, 2.0, 20.0]), seed=st.integers(0, 99)
)
def test_against_the_loop(interpolation: str, height: int, width: int, size: float, seed: int):
    images = torch.randn(2, 2, height, width, generator=seeded(seed), dtype=torch.float64)
    field = size * torch.randn(2, 2, height, width, generator=seeded(seed + 100), dtype=torch.float64)
    moved = warp(images, field, interpolation=interpolation)
    for image, displacement, result in zip(images.numpy(), field.numpy(), moved.numpy(), strict=True):
        # Positions are off by a few ulp of the side, 9 * 2e-16; the steepest slope between pixels is about 20.
        np.testing.assert_allclose(result, slow_warp(image, displacement, interpolation), rtol=0, atol=1e-12)


def whole_pixel_move(images: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Return the definition for whole pixels, by indexing: ``shift`` is integer [B, 2, H, W]."""
    batch, _, height, width = images.shape
    columns = (torch.arange(width) - shift[:, 0]).clamp(0, width - 1)
    rows = (torch.arange(height)[:, None] - shift[:, 1]).clamp(0, height - 1)
    return images[torch.arange(batch)[:, None, None], :, rows, columns].movedim(-1, 1)


def check_whole_pixels(height: int, width: int, dtype: torch.dtype, interpolation: str) -> None:
    images = torch.randn(1, 2, height, width, generator=seeded(height), dtype=dtype)
    assert torch.equal(warp(images, torch.zeros(1, 2, height, width, dtype=dtype), interpolation=interpolation), images)
    shift = torch.randint(-4, 5, (1, 2, height, width), generator=seeded(width))
    for each in (torch.tensor([1, -2])[None, :, None, None].expand_as(shift), shift):
        moved = warp(images, each.to(dtype), interpolation=interpolation)
        assert torch.equal(moved, whole_pixel_move(images, each)), (height, width)


@BOTH_PRECISIONS
@BOTH_EXACT
def test_whole_pixel_moves_are_exact_at_every_small_side(interpolation: str, dtype: torch.dtype):
    for side in range(3, 131):
        check_whole_pixels(side, 5, dtype, interpolation)
        check_whole_pixels(8, side, dtype, interpolation)


@BOTH_PRECISIONS
@BOTH_EXACT
@pytest.mark.parametrize("side", [31, 32, 96, 224, 299, 1024])
def test_whole_pixel_moves_are_exact_on_squares(side: int, interpolation: str, dtype: torch.dtype):
    check_whole_pixels(side, side, dtype, interpolation)


def test_grid_sample_alone_is_not_exact():
    # Why the test above is worth its time: torch's own resampling at a zero field is not the identity.
    images = torch.randn(1, 1, 224, 224, generator=seeded(0))
    identity = torch.nn.functional.affine_grid(torch.eye(2, 3)[None], [1, 1, 224, 224], align_corners=False)
    moved = torch.nn.functional.grid_sample(images, identity, padding_mode="border", align_corners=False)
    assert not torch.equal(moved, images)


@BOTH_EXACT
def test_whole_pixels_among_others_are_exact(interpolation: str):
    images = torch.randn(3, 2, 21, 30, generator=seeded(0))
    shift = torch.randint(-3, 4, (3, 2, 21, 30), generator=seeded(1))
    fraction = torch.rand(3, 2, 21, 30, generator=seeded(2)) * 0.8 + 0.1
    whole = torch.rand(3, 1, 21, 30, generator=seeded(3)) < 0.5
    moved = warp(images, torch.where(whole, shift, shift + fraction), interpolation=interpolation)
    kept = whole.expand(3, 2, 21, 30)
    assert torch.equal(moved[kept], whole_pixel_move(images, shift)[kept])
    if interpolation != "nearest":
        inner = torch.zeros_like(kept)
        inner[..., 4:-4, 4:-4] = True  # further out, clamped positions are whole pixels again
        assert (moved[~kept & inner] != whole_pixel_move(images, shift)[~kept & inner]).all()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("side", [6, 8])  # with and without the separate copy of whole pixels
def test_differentiable_in_the_images(interpolation: str, side: int):
    images = torch.randn(2, 1, side, side, generator=seeded(0), dtype=torch.float64, requires_grad=True)
    field = torch.randn(2, 2, side, side, generator=seeded(1), dtype=torch.float64)
    field[:, :, ::2] = field[:, :, ::2].round()
    assert torch.autograd.gradcheck(lambda x: warp(x, field, interpolation=interpolation), images)
    # Linear in the images, with weights that sum to one: the gradient of the sum counts every output pixel once.
    (gradient,) = torch.autograd.grad(warp(images, field, interpolation=interpolation).sum(), images)
    assert gradient.sum().item() == pytest.approx(images.numel(), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("side", [12, 16])
def test_half_types_are_resampled_in_float32_and_kept(dtype: torch.dtype, side: int):
    images = torch.randn(2, 3, side, side, generator=seeded(0)).to(dtype)
    field = torch.randn(2, 2, side, side, generator=seeded(1))
    moved = warp(images, field)
    assert moved.dtype == dtype
    assert torch.equal(moved, warp(images.float(), field).to(dtype))
    assert torch.equal(warp(images, torch.zeros_like(field)), images)


def test_autocast_changes_nothing():
    images, field = torch.randn(2, 3, 20, 20, generator=seeded(0)), torch.randn(2, 2, 20, 20, generator=seeded(1))
    expected = warp(images, field)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(warp(images, field), expected)


def test_leading_axes_and_one_field_for_all():
    images = torch.randn(2, 3, 4, 9, 7, generator=seeded(0))
    fields = torch.randn(2, 3, 2, 9, 7, generator=seeded(1))
    moved = warp(images, fields)
    assert moved.shape == images.shape
    for a in range(2):
        for b in range(3):
            assert torch.equal(moved[a, b], warp(images[a, b], fields[a, b]))
            assert torch.equal(warp(images, fields[0, 0])[a, b], warp(images[a, b], fields[0, 0]))


def test_images_are_left_alone():
    images = torch.randn(2, 3, 11, 13, generator=seeded(0))
    before = images.clone()
    warp(images, torch.zeros(2, 2, 11, 13)).add_(1)
    assert torch.equal(images, before)


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize(
    ("images", "field", "interpolation", "error", "message"),
    [
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 2, 8, 8), "bilinear", TypeError, "floating.*uint8"),
        (np.zeros((1, 3, 8, 8)), torch.zeros(1, 2, 8, 8), "bilinear", TypeError, "torch.Tensor.*got ndarray"),
        (torch.zeros(8, 8), torch.zeros(2, 8, 8), "bilinear", ValueError, r"\[\.\.\., C, H, W\]; got shape \(8, 8\)"),
        (torch.zeros(0, 3, 8, 8), torch.zeros(0, 2, 8, 8), "bilinear", ValueError, r"not be empty; got shape \(0, 3"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(1, 2, 8, 9), "bilinear", ValueError, r"\(8, 8\).*got \(1, 2, 8, 9\)"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8), "bilinear", ValueError, r"2, H, W.*got \(1, 3, 8, 8\)"),
        (torch.zeros(4, 3, 8, 8), torch.zeros(2, 2, 8, 8), "bilinear", ValueError, r"leading axes \(4,\).*got \(2,\)"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(1, 2, 8, 8), "cubic", ValueError, "one of bilinear, .*got 'cubic'"),
    ],
)
def test_what_is_refused(images, field, interpolation, error, message):
    with pytest.raises(error, match=message):
        warp(images, field, interpolation=interpolation)
