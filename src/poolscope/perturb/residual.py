"""What is left of a smooth deformation when its best affine fit is taken away."""

from __future__ import annotations

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor

from poolscope._checks import check_positive
from poolscope.perturb.deformation import Deformation
from poolscope.perturb.diffeomorphism import Diffeomorphism
from poolscope.perturb.modes import Modes, check_cutoff, sines
from poolscope.perturb.randomness import Randomness
from poolscope.perturb.warping import Interpolation


class AffineResidual(Deformation):
    """The part of a ``Diffeomorphism`` that no translation, rotation, scaling or shear makes.

    From each smooth field its least-squares affine fit over the pixels is taken, and what is left is enlarged, by one
    factor for all draws, until its true rms is ``displacement``. With the same seed the fields are those of
    ``Diffeomorphism(cutoff=cutoff)`` less their fits, times a number. They are not zero on the frame; positions beyond
    it are clamped.

    Args:
        displacement: root mean square of |(dx, dy)| over pixels and draws, in pixels (default: min(H, W) / 32).
        cutoff: highest mode of the smooth field, 1 .. min(H, W) - 2.
        interpolation: of the resampling.

    Raises:
        ValueError: displacement negative or not finite, or cutoff below 1.
    """

    def __init__(
        self, displacement: float | None = None, cutoff: int = 3, *, interpolation: Interpolation = "bilinear"
    ):
        self._displacement = (
            None if displacement is None else check_positive(displacement, "displacement", allow_zero=True)
        )
        self.cutoff = Diffeomorphism(cutoff=cutoff, interpolation=interpolation).cutoff  # which refuses wrong ones
        self.interpolation = interpolation

    def displacement(self, size: tuple[int, int]) -> float:
        """Return the rms of |(dx, dy)| over pixels and draws for images of ``size`` (H, W), in pixels."""
        check_cutoff(self.cutoff, *size)
        return min(size) / 32 if self._displacement is None else self._displacement

    def mean_square(self, size: tuple[int, int]) -> float:
        return self.displacement(size) ** 2

    def describe(self, size: tuple[int, int]) -> dict[str, float | int | str]:
        """Return what this ensemble is on images of ``size`` (H, W); displacement in pixels."""
        return {
            "kind": type(self).__name__,
            "displacement": self.displacement(size),
            "cutoff": self.cutoff,
            "interpolation": self.interpolation,
        }

    def __repr__(self) -> str:
        shown = "min(H, W) / 32" if self._displacement is None else f"{self._displacement:g}"
        return f"AffineResidual(displacement={shown} px, cutoff={self.cutoff})"

    def draw(self, randomness: Randomness, size: tuple[int, int], *, dtype: torch.dtype) -> Tensor:
        field = self._smooth(size).draw(randomness, size, dtype=torch.float64)
        return less_affine_fit(field).to(dtype)

    def _smooth(self, size: tuple[int, int]) -> Diffeomorphism:
        """Return the deformation whose fields, less their fits, have the rms asked for."""
        wanted = self.displacement(size)
        rest = affine_power(size, self.cutoff)[-1]
        return Diffeomorphism(wanted / math.sqrt(rest), self.cutoff, fold="ignore", interpolation=self.interpolation)


def less_affine_fit(field: Float[Tensor, "*batch 2 height width"]) -> Float[Tensor, "*batch 2 height width"]:
    """Return a field less its least-squares affine fit a + B (x, y) over the pixels, in the units of the field.

    On the pixel grid 1, x and y (from the centre) are orthogonal, so that the fit is three projections.
    """
    height, width = field.shape[-2:]
    x, y = (line.to(field) for line in _axes(height, width))
    mean = field.mean(dim=(-2, -1), keepdim=True)
    along_x = (field * x).mean(dim=(-2, -1), keepdim=True) / x.square().mean()
    along_y = (field * y).mean(dim=(-2, -1), keepdim=True) / y.square().mean()
    return field - mean - along_x * x - along_y * y


@functools.lru_cache(maxsize=64)
def affine_power(size: tuple[int, int], cutoff: int) -> tuple[float, float, float, float]:
    """Return how the mean square of smooth fields divides: exact shares, which add up to 1.

    Args:
        size: (H, W) in pixels.
        cutoff: highest mode.

    Returns:
        Shares of E|(dx, dy)|² over pixels and draws of ``Diffeomorphism(cutoff=cutoff)`` on images of ``size``: of the
        constant part, of the part linear in x, of that linear in y, and of the rest.

    Raises:
        ValueError: a cutoff outside 1 .. min(H, W) - 2.
    """
    check_cutoff(cutoff, *size)
    modes = Modes(*size, cutoff)
    i, j = (number - 1 for number in modes.numbers)
    weights = modes.amplitudes.square()
    # A mode is a product of sines, and so are its overlaps with 1, x and y, whose norms are those of their factors.
    (flat_y, slope_y), (flat_x, slope_x) = (_overlaps(side, cutoff) for side in size)
    powers = (flat_x[i] * flat_y[j], slope_x[i] * flat_y[j], flat_x[i] * slope_y[j])
    whole = float(weights.sum()) * modes.pixel_mean
    constant, along_x, along_y = (float(weights @ power) / whole for power in powers)
    return constant, along_x, along_y, 1 - constant - along_x - along_y


def component_shares(side: int, cutoff: int) -> dict[str, float]:
    """Return the shares of a smooth field's mean square in translation, rotation, scaling, shear and the residual.

    The linear part of a field on ``side`` x ``side`` pixels is a 2x2 matrix: its antisymmetric part turns, its trace
    stretches, the rest shears. On squares these are orthogonal as fields, and dx and dy are independent and alike, so
    that rotation and scaling have a quarter of the linear part's power each, and shear, which has two numbers, half.

    Args:
        side: pixels per side.
        cutoff: highest mode, 1 .. side - 2.

    Raises:
        ValueError: a cutoff out of range.
    """
    constant, x, y, rest = affine_power((side, side), cutoff)
    linear = x + y
    return {
        "translation": constant,
        "rotation": linear / 4,
        "scaling": linear / 4,
        "shear": linear / 2,
        "residual": rest,
    }


def _overlaps(side: int, cutoff: int) -> tuple[Tensor, Tensor]:
    """Return squared projections of sin(i π k / (side - 1)) on 1 and on k - mean k, both of mean square 1, ``[i]``."""
    waves = sines(side, cutoff, torch.float64, torch.device("cpu"))
    line = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    return waves.mean(dim=0).square(), (waves.T @ line / side).square() / line.square().mean()


def _axes(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return x ``[W]`` and y ``[H, 1]`` from the centre, in pixels."""
    x = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    y = torch.arange(height, dtype=torch.float64) - (height - 1) / 2
    return x, y[:, None]
