"""Translation, rotation, scaling, shear: calibrated, of the right form, and the same as scipy's resampling."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from helpers import seeded
from poolscope.perturb import Rotation, Scaling, Shear, Translation, warp

KINDS = [Translation, Rotation, Scaling, Shear]


def sampled(tau, draws: int, size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    return tau.sample(draws, size, generator=seeded(seed), dtype=torch.float64)


def linear_part(field: torch.Tensor) -> torch.Tensor:
    """Return d(dx, dy) / d(x, y) as [B, 2, 2], having checked that it is the same everywhere."""
    along_x, along_y = field.diff(dim=-1), field.diff(dim=-2)
    for slope in (along_x, along_y):
        torch.testing.assert_close(slope, slope[..., :1, :1].expand_as(slope), rtol=0, atol=1e-12)
    return torch.stack([along_x[..., 0, 0], along_y[..., 0, 0]], dim=-1)


def centre_value(field: torch.Tensor) -> torch.Tensor:
    """Return (dx, dy) at the centre: the mean of an affine field over the pixels."""
    return field.mean(dim=(-2, -1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("size", "displacement"), [((16, 16), 0.5), ((8, 21), 1.7), ((21, 8), 1.7), ((3, 3), 0.3), ((8, 8), 3.5)]
)
def test_rms_displacement(kind, size: tuple[int, int], displacement: float):
    tau = kind(displacement)
    assert tau.mean_square(size) == pytest.approx(displacement**2)
    power = sampled(tau, 20_000, size).square().sum(dim=1).mean(dim=(1, 2))
    error = power.std() / len(power) ** 0.5
    assert error < 0.012 * displacement**2  # |τ|² of one Gaussian number varies by sqrt(2): 1 % at 20 000 draws
    assert abs(power.mean() - displacement**2) < 4 * error


@pytest.mark.parametrize("kind", KINDS)
def test_default_displacement(kind):
    assert kind().displacement((64, 48)) == 1.5
    power = sampled(kind(), 20_000, (8, 20)).square().sum(dim=1).mean(dim=(1, 2))
    assert abs(power.mean() - 0.0625) < 5 * power.std() / len(power) ** 0.5
    assert "min(H, W) / 32" in repr(kind())
    assert repr(kind(0.5)) == f"{kind.__name__}(displacement=0.5 px)"


def test_translation_is_one_isotropic_gaussian_shift():
    field = sampled(Translation(1.2), 20_000, (5, 4))
    shift = field[..., 0, 0]
    assert torch.equal(field, shift[..., None, None].expand_as(field))
    covariance = shift.T @ shift / len(shift)
    assert (covariance - 0.72 * torch.eye(2)).abs().max() < 5 * 0.72 * math.sqrt(2 / len(shift))
    assert abs(shift.pow(4).mean() / 0.72**2 - 3) < 5 * math.sqrt(96 / shift.numel())


@pytest.mark.parametrize(
    ("displacement", "allowed"),
    [(0.5, {-1, 0, 1}), (math.sqrt(2), {-1, 1}), (2.0, {-2, -1, 1, 2}), (7.0, {-5, -4, 4, 5})],
)
def test_whole_pixel_translation(displacement: float, allowed: set[int]):
    tau = Translation(displacement, integer=True)
    field = sampled(tau, 20_000, (4, 4))
    shift = field[..., 0, 0]
    assert torch.equal(field, shift[..., None, None].expand_as(field))
    assert set(shift.unique().int().tolist()) == allowed
    power = shift.square().sum(dim=1)
    error = power.std() / len(power) ** 0.5
    assert abs(power.mean() - displacement**2) <= 5 * error + 1e-9
    assert shift.mean(dim=0).abs().max() < 5 * displacement / len(shift) ** 0.5
    assert abs((shift[:, 0] * shift[:, 1]).mean()) < 5 * displacement**2 / 2 / len(shift) ** 0.5


def test_whole_pixel_translation_only_copies():
    images = torch.randn(50, 2, 11, 13, generator=seeded(0))
    tau = Translation(1.5, integer=True)
    shifts = tau.sample(50, (11, 13), generator=seeded(1))[..., 0, 0].int().tolist()
    moved = tau(images, generator=seeded(1))
    for image, result, (dx, dy) in zip(images.numpy(), moved.numpy(), shifts, strict=True):
        padded = np.pad(image, ((0, 0), (3, 3), (3, 3)), mode="edge")
        assert np.array_equal(result, padded[:, 3 - dy : 14 - dy, 3 - dx : 16 - dx])


def test_rotation_turns_rigidly_about_the_centre():
    field = sampled(Rotation(2.0), 20_000, (9, 12))
    assert centre_value(field).abs().max() < 1e-12
    inverse = torch.eye(2) - linear_part(field)  # source = inverse @ position
    product = inverse @ inverse.mT
    torch.testing.assert_close(product, torch.eye(2, dtype=torch.float64).expand_as(product), rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.linalg.det(inverse), torch.ones(20_000, dtype=torch.float64), rtol=0, atol=1e-12)
    angle = torch.atan2(inverse[:, 1, 0], inverse[:, 0, 0])
    # 2 r² (1 - E cos θ) = 4, r² = (80 + 143) / 12
    exact = 1 - 4 / (2 * (80 + 143) / 12)
    assert abs(angle.cos().mean() - exact) < 5 * angle.cos().std() / len(angle) ** 0.5
    assert abs(angle.mean()) < 5 * angle.std() / len(angle) ** 0.5
    assert abs((angle / angle.std()).pow(4).mean() - 3) < 5 * math.sqrt(96 / len(angle)) + 0.01


def test_scaling_is_the_trace_part():
    field = sampled(Scaling(0.6), 2000, (9, 12))
    assert centre_value(field).abs().max() < 1e-12
    linear = linear_part(field)
    strain = linear[:, 0, 0]
    expected = strain[:, None, None] * torch.eye(2)
    torch.testing.assert_close(linear, expected, rtol=0, atol=1e-12)
    assert strain.min() < 0 < strain.max()


def test_shear_is_the_symmetric_traceless_part():
    field = sampled(Shear(0.6), 20_000, (9, 12))
    assert centre_value(field).abs().max() < 1e-12
    linear = linear_part(field)
    torch.testing.assert_close(linear, linear.mT, rtol=0, atol=1e-12)
    assert (linear[:, 0, 0] + linear[:, 1, 1]).abs().max() < 1e-12
    orientation = torch.atan2(linear[:, 0, 1], linear[:, 0, 0])  # uniform: E exp(i k angle) = 0 for k = 1, 2
    for k in (1, 2):
        assert abs(torch.exp(1j * k * orientation).mean()) < 5 / len(orientation) ** 0.5


@pytest.mark.parametrize("kind", [Rotation, Scaling, Shear, Translation])
def test_against_scipy(kind):
    images = torch.rand(6, 1, 17, 23, generator=seeded(0), dtype=torch.float64)
    tau = kind(1.3)
    moved = tau(images, generator=seeded(1)).numpy()
    field = tau.sample(6, (17, 23), generator=seeded(1), dtype=torch.float64)
    linear, centre = linear_part(field).numpy(), np.array([8.0, 11.0])
    shift = centre_value(field).numpy()
    for index in range(6):
        # scipy's axes are (y, x); the output at p is the input at matrix @ p + offset.
        matrix = np.eye(2) - linear[index][::-1, ::-1]
        offset = centre - matrix @ centre - shift[index][::-1]
        expected = ndimage.affine_transform(images[index, 0].numpy(), matrix, offset, order=1, mode="nearest")
        np.testing.assert_allclose(moved[index, 0], expected, rtol=0, atol=1e-12)


def test_rotation_turns_a_smooth_picture():
    side, sigma = 65, 6.0
    axis = torch.arange(side, dtype=torch.float64) - 32
    y, x = torch.meshgrid(axis, axis, indexing="ij")

    def blob(cx: float, cy: float) -> torch.Tensor:
        return torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))

    picture = blob(14, 0)[None, None].expand(8, 1, side, side)
    tau = Rotation(4.0)
    moved = tau(picture, generator=seeded(3))
    linear = linear_part(tau.sample(8, (side, side), generator=seeded(3), dtype=torch.float64))
    angles = torch.atan2(-linear[:, 0, 1], 1 - linear[:, 0, 0])  # source x = cos θ x + sin θ y
    assert angles.abs().max() > 0.1
    for image, angle in zip(moved[:, 0], angles.tolist(), strict=True):
        # The picture itself turns by θ, clockwise on the screen since y points down. Linear interpolation is off by at
        # most 1/8 of the second derivative, 1 / σ² along each axis: 2 / 8 / 36 = 0.7 %.
        expected = blob(14 * math.cos(angle), 14 * math.sin(angle))
        assert (image - expected).abs().max() < 0.007
        if abs(angle) > 0.05:
            assert (image - blob(14 * math.cos(angle), -14 * math.sin(angle))).abs().max() > 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_no_displacement_is_the_identity(kind):
    images = torch.rand(4, 3, 11, 16, generator=seeded(0))
    assert torch.equal(kind(0.0)(images, generator=seeded(1)), images)


@pytest.mark.parametrize("kind", KINDS)
def test_interpolation_is_passed_on(kind):
    images = torch.rand(2, 1, 12, 12, generator=seeded(0))
    for interpolation in ("bilinear", "nearest", "bicubic"):
        tau = kind(1.0, interpolation=interpolation)
        field = tau.sample(2, (12, 12), generator=seeded(1))
        assert torch.equal(tau(images, generator=seeded(1)), warp(images, field, interpolation=interpolation))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("displacement", [-1.0, math.nan, math.inf])
def test_impossible_displacements_are_refused(kind, displacement: float):
    with pytest.raises(ValueError, match=f"displacement must be finite and not negative; got {displacement}"):
        kind(displacement)


def test_no_angle_is_enough_for_a_large_rotation():
    # r² = 2 (8² - 1) / 12 = 10.5; random angles give at most sqrt(2) r = 4.58 px
    Rotation(4.5).sample(2, (8, 8), generator=seeded(0))
    with pytest.raises(ValueError, match=r"below 4.58 px.*8x8 pixels; got 4.6"):
        Rotation(4.6).sample(2, (8, 8), generator=seeded(0))
