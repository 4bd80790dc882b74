"""The blur control: what resampling does to an image when nothing moves."""

import pytest
import torch

from helpers import seeded
from poolscope.perturb import Deformation, Diffeomorphism, ResamplingBlur, Translation, warp


class Given(Deformation):
    """Always the same field."""

    def __init__(self, field: torch.Tensor):
        self.field = field

    def draw(self, randomness, size, *, dtype):
        return self.field.to(dtype).expand(randomness.batch, 2, *size)

    def mean_square(self, size):
        return float(self.field.square().sum(dim=0).mean())


def constant(dx: float, dy: float, size: int = 15) -> torch.Tensor:
    return torch.tensor([dx, dy], dtype=torch.float64)[:, None, None].expand(2, size, size)


def impulse(size: int = 15) -> torch.Tensor:
    image = torch.zeros(1, 1, size, size, dtype=torch.float64)
    image[..., size // 2, size // 2] = 1
    return image


def spread(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and covariance, in pixels, of an image taken as a density."""
    axis = torch.arange(image.shape[-1], dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([x, y]).flatten(1)
    weights = image.flatten() / image.sum()
    mean = points @ weights
    return mean, (points - mean[:, None]) * weights @ (points - mean[:, None]).T


@pytest.mark.parametrize("dx", [0.0, 0.25, -0.4, 0.5, 2.3, -1.0])
@pytest.mark.parametrize("dy", [0.0, 0.7, -3.0])
def test_variance_is_that_of_bilinear_resampling(dx: float, dy: float):
    blurred = ResamplingBlur(Given(constant(dx, dy)))(impulse(), generator=seeded(0))
    assert blurred.sum().item() == pytest.approx(1, rel=1e-14)
    mean, covariance = spread(blurred)
    tx, ty = abs(dx) % 1, abs(dy) % 1
    expected = torch.diag(torch.tensor([tx * (1 - tx), ty * (1 - ty)], dtype=torch.float64))
    torch.testing.assert_close(mean, torch.full((2,), 7.0, dtype=torch.float64))  # it stays where it is
    torch.testing.assert_close(covariance, expected, rtol=0, atol=1e-14)
    moved_mean, moved_covariance = spread(warp(impulse(), constant(dx, dy)[None]))
    torch.testing.assert_close(moved_covariance, expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(moved_mean, torch.tensor([7 + dx, 7 + dy], dtype=torch.float64))


def test_ramps_are_unchanged_inside():
    axis = torch.arange(20, dtype=torch.float64)
    ramps = torch.stack([axis.expand(20, 20), axis[:, None].expand(20, 20), 2 * axis - 3 * axis[:, None]])[None]
    tau = Diffeomorphism(1.0, fold="ignore")
    blurred = ResamplingBlur(tau)(ramps.expand(5, 3, 20, 20), generator=seeded(0))
    change = (blurred - ramps)[..., 1:-1, 1:-1]
    assert change.abs().max() < 1e-13  # beside the frame too: there the field, and with it the weight, is small or none
    moved = tau(ramps.expand(5, 3, 20, 20), generator=seeded(0))
    assert (moved - ramps)[..., 1:-1, 1:-1].abs().max() > 1


def test_whole_pixel_moves_do_not_blur():
    images = torch.rand(3, 2, 15, 15, generator=seeded(0), dtype=torch.float64)
    assert torch.equal(ResamplingBlur(Given(constant(2, -1)))(images, generator=seeded(0)), images)
    assert torch.equal(ResamplingBlur(Diffeomorphism(0.0))(images, generator=seeded(0)), images)
    assert torch.equal(ResamplingBlur(Translation(3.0, integer=True))(images, generator=seeded(0)), images)


def test_smooth_waves_lose_what_resampling_takes():
    # |1 - t + t exp(iω)|² = 1 - 2 t (1 - t) (1 - cos ω) against (1 - t (1 - t) (1 - cos ω))²: equal up to ω⁴.
    side, t = 32, 0.3
    omega = 2 * torch.pi * 2 / side
    wave = torch.cos(omega * torch.arange(side, dtype=torch.float64)).expand(1, 1, side, side)
    inner = slice(2, -2)
    blurred = ResamplingBlur(Given(constant(t, 0.0, side)))(wave, generator=seeded(0))[..., inner]
    gain = ((blurred * wave[..., inner]).sum() / wave[..., inner].square().sum()).item()
    loss = 1 - torch.cos(torch.tensor(omega, dtype=torch.float64)).item()
    assert gain == pytest.approx(1 - t * (1 - t) * loss, rel=1e-12)
    assert gain**2 == pytest.approx(1 - 2 * t * (1 - t) * loss, abs=(t * (1 - t) * loss) ** 2 * 1.001)


def test_the_fields_are_those_of_the_deformation():
    tau = Diffeomorphism(1.0, fold="ignore")
    field = tau.sample(4, (20, 20), generator=seeded(5))
    assert torch.equal(ResamplingBlur(tau).sample(4, (20, 20), generator=seeded(5)), field)
    images = torch.rand(4, 1, 20, 20, generator=seeded(0), dtype=torch.float64)
    double = tau.sample(4, (20, 20), generator=seeded(5), dtype=torch.float64)
    blurred = ResamplingBlur(tau)(images, generator=seeded(5))
    one_by_one = [
        ResamplingBlur(Given(each))(image[None], generator=seeded(0))
        for each, image in zip(double, images, strict=True)
    ]
    torch.testing.assert_close(blurred, torch.cat(one_by_one), rtol=0, atol=1e-12)


def test_what_it_says():
    blur = ResamplingBlur(Translation(0.5))
    assert repr(blur) == "ResamplingBlur(Translation(displacement=0.5 px))"
    assert blur.describe((8, 8)) == {
        "kind": "ResamplingBlur",
        "displacement": 0.0,
        "of": Translation(0.5).describe((8, 8)),
    }
    with pytest.raises(ValueError, match=r"must interpolate bilinearly.*got interpolation='bicubic'"):
        ResamplingBlur(Diffeomorphism(interpolation="bicubic"))
