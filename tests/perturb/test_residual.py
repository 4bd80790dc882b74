"""The residual of a smooth deformation: nothing affine in it, calibrated, and the smooth field's own."""

import math

import pytest
import torch

from helpers import seeded
from poolscope.perturb import AffineResidual, Diffeomorphism
from poolscope.perturb.residual import affine_power, component_shares, less_affine_fit

SIZES = [((12, 12), 3), ((9, 14), 2), ((14, 9), 5), ((3, 3), 1)]


def affine_basis(height: int, width: int) -> list[torch.Tensor]:
    """The six affine fields, pixel by pixel."""
    fields = [torch.zeros(2, height, width, dtype=torch.float64) for _ in range(6)]
    for row in range(height):
        for column in range(width):
            for component in range(2):
                fields[3 * component][component, row, column] = 1
                fields[3 * component + 1][component, row, column] = column
                fields[3 * component + 2][component, row, column] = row
    return fields


def slow_residual(field: torch.Tensor) -> torch.Tensor:
    """What least squares leaves of one field ``[2, H, W]``."""
    basis = torch.stack([each.flatten() for each in affine_basis(*field.shape[1:])], dim=1)
    fit = torch.linalg.lstsq(basis, field.flatten()[:, None]).solution
    return field - (basis @ fit).view_as(field)


@pytest.mark.parametrize(("size", "cutoff"), SIZES)
def test_it_is_what_least_squares_leaves_of_the_smooth_field(size: tuple[int, int], cutoff: int):
    smooth = Diffeomorphism(1.0, cutoff, fold="ignore").sample(3, size, generator=seeded(0), dtype=torch.float64)
    expected = torch.stack([slow_residual(field) for field in smooth])
    torch.testing.assert_close(less_affine_fit(smooth), expected, rtol=0, atol=1e-12)
    found = AffineResidual(0.7, cutoff).sample(3, size, generator=seeded(0), dtype=torch.float64)
    factor = found.flatten()[0] / expected.flatten()[0]    # one for all draws
    torch.testing.assert_close(found, factor * expected, rtol=0, atol=1e-12)
    for field in found:
        for affine in affine_basis(*size):
            assert abs((field * affine).sum()) < 1e-10    # 1e-12 times a sum of some 100 products of up to 14


@pytest.mark.parametrize(("size", "cutoff"), SIZES)
def test_rms_displacement(size: tuple[int, int], cutoff: int):
    tau = AffineResidual(0.7, cutoff)
    assert tau.displacement(size) == 0.7
    power = tau.sample(20_000, size, generator=seeded(1)).square().sum(dim=1).mean(dim=(1, 2))
    error = power.std() / len(power) ** 0.5
    assert error < 0.01 * 0.49    # dx and dy are at least two Gaussian numbers: 0.7 % at 20 000 draws at most
    assert abs(power.mean() - 0.49) < 4 * error


@pytest.mark.parametrize(("size", "cutoff"), SIZES)
def test_shares_of_the_affine_parts(size: tuple[int, int], cutoff: int):
    field = Diffeomorphism(1.0, cutoff, fold="ignore").sample(20_000, size, generator=seeded(2), dtype=torch.float64)
    y, x = torch.meshgrid(*(torch.arange(side) - (side - 1) / 2 for side in size), indexing="ij")
    found = []
    for basis in (torch.ones(size), x, y):
        projection = (field * basis).sum(dim=(-2, -1)) / basis.square().sum().sqrt()
        found.append(projection.square().sum(dim=1) / basis.numel())    # mean square over pixels of the projected field
    found.append(1 - sum(found))
    for exact, samples in zip(affine_power(size, cutoff), found, strict=True):
        error = samples.std() / len(samples) ** 0.5
        assert abs(samples.mean() - exact) < 5 * error + 1e-12
    assert sum(affine_power(size, cutoff)) == pytest.approx(1, abs=1e-12)


def test_components_of_a_square_field():
    """Each share against the projection on its own field: turning, stretching, shearing."""
    side, cutoff = 10, 3
    field = Diffeomorphism(1.0, cutoff, fold="ignore").sample(40_000, (side, side), generator=seeded(3))
    x = (torch.arange(side) - (side - 1) / 2).expand(side, side)
    y, one, zero = x.T, torch.ones(side, side), torch.zeros(side, side)
    parts = {
        "translation": [(one, zero), (zero, one)],
        "rotation": [(-y, x)],
        "scaling": [(x, y)],
        "shear": [(x, -y), (y, x)],
    }
    shares = component_shares(side, cutoff)
    rest = field.square().sum(dim=(1, 2, 3)) / side**2
    for name, fields in parts.items():
        power = torch.zeros(len(field))
        for pair in fields:
            unit = torch.stack(pair)
            power += (field * unit).sum(dim=(1, 2, 3)).square() / unit.square().sum() / side**2
        rest = rest - power
        error = power.std() / len(power) ** 0.5
        assert error < 0.01
        assert abs(power.mean() - shares[name]) < 5 * error, name
    assert abs(rest.mean() - shares["residual"]) < 5 * rest.std() / len(rest) ** 0.5
    assert sum(shares.values()) == pytest.approx(1)


def test_default_displacement_and_description():
    tau = AffineResidual(cutoff=2)
    assert tau.displacement((64, 48)) == 1.5
    assert tau.describe((64, 48)) == {
        "kind": "AffineResidual", "displacement": 1.5, "cutoff": 2, "interpolation": "bilinear"
    }    # fmt: skip
    assert repr(AffineResidual(0.5)) == "AffineResidual(displacement=0.5 px, cutoff=3)"


def test_it_leaves_torchs_generator_alone_and_images_of_no_displacement():
    images = torch.rand(2, 3, 12, 12, generator=seeded(0))
    before = torch.get_rng_state()
    assert torch.equal(AffineResidual(0.0)(images, generator=seeded(1)), images)
    assert torch.equal(torch.get_rng_state(), before)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"displacement must be finite and not negative; got -1"):
        AffineResidual(-1.0)
    with pytest.raises(ValueError, match=r"cutoff must be a whole number >= 1.*got 0"):
        AffineResidual(1.0, 0)
    with pytest.raises(ValueError, match=r"min\(H, W\) - 2 = 6.*got 7"):
        AffineResidual(1.0, 7).displacement((8, 20))
    with pytest.raises(ValueError, match=r"displacement must be finite"):
        AffineResidual(math.nan)
