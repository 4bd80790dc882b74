"""Jacobians against a slow loop, cases known by hand, and the published range of temperatures."""

import itertools

import pytest
import torch

from helpers import seeded
from poolscope.perturb import fold_fraction, least_jacobian, temperature_range
from poolscope.perturb.folding import folds, jacobian


def linear_field(xx: float, xy: float, yx: float, yy: float, height: int = 6, width: int = 5) -> torch.Tensor:
    """Return the field dx = xx x + xy y, dy = yx x + yy y."""
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    return torch.stack([xx * x + xy * y, yx * x + yy * y])[None]


@pytest.mark.parametrize(
    ("gradient", "determinant"),
    [
        ((0, 0, 0, 0), 1.0),
        ((0.5, 0, 0, 0), 0.5),
        ((0, 0, 0, -0.25), 1.25),
        ((0.2, 0.3, -0.4, 0.1), 0.8 * 0.9 + 0.3 * 0.4),  # (1 - 0.2)(1 - 0.1) - 0.3 (-0.4)
        ((0, 2, 0.5, 0), 0.0),
        ((2, 0, 0, 0), -1.0),
        ((2, 0, 0, 2), 1.0),  # turned by half a turn: the determinant is positive, nothing folds
    ],
)
def test_linear_fields(gradient: tuple[float, float, float, float], determinant: float):
    field = linear_field(*gradient)
    torch.testing.assert_close(jacobian(field), torch.full((1, 5, 4), determinant, dtype=torch.float64))
    assert least_jacobian(field).item() == pytest.approx(determinant, abs=1e-14)
    assert fold_fraction(field).item() == (1.0 if determinant <= 0 else 0.0)
    assert folds(field).item() == (determinant <= 0)


def test_against_a_loop_over_cells():
    field = torch.randn(2, 2, 6, 7, generator=seeded(0), dtype=torch.float64)
    found = jacobian(field)
    for image, row, column in itertools.product(range(2), range(5), range(6)):

        def source(r: int, c: int, dx=field[image, 0], dy=field[image, 1]) -> tuple[float, float]:
            return c - dx[r, c].item(), r - dy[r, c].item()

        corners = []
        for r, c in itertools.product((row, row + 1), (column, column + 1)):
            # The two sides of the cell which meet in this corner, as vectors along +x and +y.
            (x0, y0), (x1, y1) = source(r, column), source(r, column + 1)
            (u0, v0), (u1, v1) = source(row, c), source(row + 1, c)
            corners.append((x1 - x0) * (v1 - v0) - (y1 - y0) * (u1 - u0))
        assert found[image, row, column].item() == pytest.approx(min(corners), rel=1e-12, abs=1e-12)


def test_least_determinant_inside_a_bilinear_cell_is_at_a_corner():
    # The claim that makes four corners enough: sample the determinant of the bilinear map densely inside one cell.
    field = torch.randn(1, 2, 2, 2, generator=seeded(1), dtype=torch.float64)
    corners = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]], dtype=torch.float64) - field[0].flatten(1).T
    p00, p10, p01, p11 = corners
    s, t = torch.meshgrid(*[torch.linspace(0, 1, 101, dtype=torch.float64)] * 2, indexing="ij")
    s, t = s[..., None], t[..., None]
    along_x = (1 - t) * (p10 - p00) + t * (p11 - p01)
    along_y = (1 - s) * (p01 - p00) + s * (p11 - p10)
    determinant = along_x[..., 0] * along_y[..., 1] - along_x[..., 1] * along_y[..., 0]
    assert determinant.min().item() == pytest.approx(least_jacobian(field).item(), rel=1e-12)


def test_share_counts_cells():
    field = torch.zeros(1, 2, 5, 5)
    field[0, 0, 2, 2] = 1.5  # the source of pixel (2, 2) passes beyond its left neighbour's: both cells there fold
    assert fold_fraction(field).item() == pytest.approx(2 / 16)
    assert fold_fraction(-field).item() == pytest.approx(2 / 16)  # and beyond its right neighbour's
    assert fold_fraction(field / 2).item() == 0
    assert fold_fraction(torch.zeros(3, 4, 2, 5, 5)).shape == (3, 4)


def test_published_range_by_hand():
    # T1 = 1 / (π n² ln c) and T2 = 4 / (π³ c² ln c), in 30-digit decimal arithmetic.
    assert temperature_range(32, 3) == pytest.approx((2.82947406862901e-4, 1.30473830044464e-2), rel=1e-13)
    assert temperature_range(224, 10) == pytest.approx((2.75510656698167e-6, 5.60266537490050e-4), rel=1e-13)


def test_setting_of_the_paper_lies_far_below_the_upper_limit():
    coldest, hottest = temperature_range(32, 3)
    # δ = 1 is twice the half pixel at T1, so four times T1; published as 0.087 T2.
    assert 4 * coldest / hottest == pytest.approx(0.087, abs=5e-4)


@pytest.mark.parametrize(
    ("n", "cutoff", "message"),
    [(32, 1, r"at least 2.*ln\(cutoff\); got 1"), (32, 0, "got 0"), (2, 3, r"at least 3 pixels; got 2")],
)
def test_no_range_where_the_formula_has_none(n: int, cutoff: int, message: str):
    with pytest.raises(ValueError, match=message):
        temperature_range(n, cutoff)
