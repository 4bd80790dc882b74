"""The affine parts of a smooth deformation, one at a time: translation, rotation, scaling, shear."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from poolscope._checks import check_positive
from poolscope.perturb.deformation import Deformation
from poolscope.perturb.randomness import Randomness
from poolscope.perturb.warping import Interpolation


class Affine(Deformation):
    """A random affine displacement about the image centre, calibrated to a true rms displacement.

    Unlike ``Diffeomorphism`` the field is not zero on the frame; positions beyond it are clamped.

    Args:
        displacement: root mean square of |(dx, dy)| over pixels and draws, in pixels (default: min(H, W) / 32).
        interpolation: of the resampling.

    Raises:
        ValueError: displacement negative or not finite.
    """

    def __init__(self, displacement: float | None = None, *, interpolation: Interpolation = "bilinear"):
        self._displacement = (
            None if displacement is None else check_positive(displacement, "displacement", allow_zero=True)
        )
        self.interpolation = interpolation

    def displacement(self, size: tuple[int, int]) -> float:
        """Return the rms of |(dx, dy)| over pixels and draws for images of ``size`` (H, W), in pixels."""
        return min(size) / 32 if self._displacement is None else self._displacement

    def mean_square(self, size: tuple[int, int]) -> float:
        return self.displacement(size) ** 2

    def describe(self, size: tuple[int, int]) -> dict[str, float | int | str]:
        """Return what this ensemble is on images of ``size`` (H, W); displacement in pixels."""
        return {
            "kind": type(self).__name__,
            "displacement": self.displacement(size),
            "interpolation": self.interpolation,
        }

    def __repr__(self) -> str:
        shown = "min(H, W) / 32" if self._displacement is None else f"{self._displacement:g}"
        return f"{type(self).__name__}(displacement={shown} px)"

    def draw(self, randomness: Randomness, size: tuple[int, int], *, dtype: torch.dtype) -> Tensor:
        height, width = size
        y = torch.arange(height, dtype=torch.float64) - (height - 1) / 2
        x = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
        mean_square_radius = ((height**2 - 1) + (width**2 - 1)) / 12
        coefficients = self._draw_coefficients(randomness, size, mean_square_radius)
        constant_x, constant_y, xx, xy, yx, yy = coefficients[:, :, None, None].to(y.device).unbind(dim=1)
        dx = constant_x + xx * x + xy * y[:, None]
        dy = constant_y + yx * x + yy * y[:, None]
        return torch.stack([dx, dy], dim=1).to(dtype)

    @abstractmethod
    def _draw_coefficients(self, randomness: Randomness, size: tuple[int, int], mean_square_radius: float) -> Tensor:
        """Draw float64 ``[B, 6]``: dx = c0 + c2 x + c3 y, dy = c1 + c4 x + c5 y, in pixels from the centre."""


class Translation(Affine):
    """A random shift of the whole image, isotropic Gaussian, or by whole pixels.

    Args:
        displacement: root mean square length of the shift, in pixels (default: min(H, W) / 32).
        integer: whole pixels only, which need no interpolation: each component is ± m or ± (m + 1), the two sizes
            around displacement / sqrt(2), mixed so that the rms is exact.
        interpolation: of the resampling.

    Raises:
        ValueError: displacement negative or not finite.
    """

    def __init__(
        self, displacement: float | None = None, *, integer: bool = False, interpolation: Interpolation = "bilinear"
    ):
        super().__init__(displacement, interpolation=interpolation)
        self.integer = integer

    def describe(self, size: tuple[int, int]) -> dict[str, float | int | str]:
        """Return what this ensemble is on images of ``size`` (H, W); displacement in pixels."""
        return {**super().describe(size), "integer": self.integer}

    def _draw_coefficients(self, randomness: Randomness, size: tuple[int, int], mean_square_radius: float) -> Tensor:
        wanted = self.displacement(size) ** 2 / 2
        if self.integer:
            uniform = randomness.uniform(2, 2).double().cpu()
            smaller = math.floor(math.sqrt(wanted))
            share_of_larger = (wanted - smaller**2) / (2 * smaller + 1)
            length = smaller + (uniform[:, 0] < share_of_larger)
            shift = torch.where(uniform[:, 1] < 0.5, -length, length).double()
        else:
            shift = randomness.normal(2).double().cpu() * math.sqrt(wanted)
        return torch.cat([shift, shift.new_zeros(len(shift), 4)], dim=1)


class Rotation(Affine):
    """A random rotation about the centre: the antisymmetric part, exact at any angle.

    The angle is Gaussian of variance -2 ln(1 - d² / (2 r²)), d the displacement and r² the mean square distance of a
    pixel from the centre: then E|displacement|² = 2 r² (1 - E cos θ) = d².

    Raises:
        ValueError: displacement so large that no angle reaches it (d >= sqrt(2) r), when images are first moved.
    """

    def _draw_coefficients(self, randomness: Randomness, size: tuple[int, int], mean_square_radius: float) -> Tensor:
        share = self.displacement(size) ** 2 / (2 * mean_square_radius)
        if share >= 1:
            raise ValueError(
                f"a rotation's displacement must be below {math.sqrt(2 * mean_square_radius):.3g} px, what a random "
                f"angle gives on {size[0]}x{size[1]} pixels; got {self.displacement(size):g}"
            )
        angle = randomness.normal(1).double().cpu()[:, 0] * math.sqrt(-2 * math.log1p(-share))
        # The new image at p is the old one at p - d(p): turning the content by θ reads from p turned by -θ.
        cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        return torch.stack([zero, zero, 1 - cosine, -sine, sine, 1 - cosine], dim=1)


class Scaling(Affine):
    """A random stretching about the centre: the trace part, (dx, dy) = ε (x, y) with Gaussian ε."""

    def _draw_coefficients(self, randomness: Randomness, size: tuple[int, int], mean_square_radius: float) -> Tensor:
        strain = randomness.normal(1).double().cpu()[:, 0] * (self.displacement(size) / math.sqrt(mean_square_radius))
        zero = torch.zeros_like(strain)
        return torch.stack([zero, zero, strain, zero, zero, strain], dim=1)


class Shear(Affine):
    """A random shear about the centre: the symmetric traceless part, of Gaussian size and uniform orientation."""

    def _draw_coefficients(self, randomness: Randomness, size: tuple[int, int], mean_square_radius: float) -> Tensor:
        scale = self.displacement(size) / math.sqrt(2 * mean_square_radius)
        stretch, skew = (randomness.normal(2).double().cpu() * scale).unbind(dim=1)
        zero = torch.zeros_like(stretch)
        return torch.stack([zero, zero, stretch, skew, skew, -stretch], dim=1)
