"""Noise to compare a deformation with: white of matched norm, white of given norm, and of matched spectrum."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from poolscope._checks import check_generator, check_images, check_positive
from poolscope.perturb.randomness import GeneratorRandomness, Randomness


class Noise(ABC):
    """Random noise η for each image; some kinds are sized by the deformed image beside it."""

    @abstractmethod
    def draw(self, images: Tensor, moved: Tensor, randomness: Randomness) -> Tensor:
        """Draw η ``[B, ...]`` for images and deformed images of that shape, in their dtype and on their device."""

    def sample(
        self,
        images: Float[Tensor, " batch *features"],
        moved: Float[Tensor, " batch *features"] | None = None,
        *,
        generator: torch.Generator,
    ) -> Float[Tensor, " batch *features"]:
        """Draw η, one an image.

        Args:
            images: x, floating point, one image a row.
            moved: τx, the same shape; needed by noise that is matched to τx - x.
            generator: source of all randomness.

        Returns:
            η in the shape, dtype and device of ``images``.

        Raises:
            TypeError: images are not floating point, or the generator is none.
            ValueError: shapes differ, or ``moved`` is missing where it is needed.
        """
        check_generator(generator)
        if not isinstance(images, Tensor) or not images.dtype.is_floating_point:
            got = images.dtype if isinstance(images, Tensor) else type(images).__name__
            raise TypeError(f"images must be a floating-point tensor; got {got}")
        if moved is None:
            if not isinstance(self, GaussianNoise):
                raise ValueError(f"{type(self).__name__} is matched to τx - x, so it needs moved=τx; got None")
            moved = images
        if moved.shape != images.shape:
            raise ValueError(f"moved must have the images' shape {tuple(images.shape)}; got {tuple(moved.shape)}")
        return self.draw(images, moved, GeneratorRandomness(generator, len(images)))

    def __call__(
        self,
        images: Float[Tensor, " batch *features"],
        moved: Float[Tensor, " batch *features"] | None = None,
        *,
        generator: torch.Generator,
    ) -> Float[Tensor, " batch *features"]:
        """Return x + η; arguments and errors as for ``sample``."""
        return images + self.sample(images, moved, generator=generator)


def _norms(rows: Tensor) -> Tensor:
    """Return the L2 norm of each row, summed in float64, shaped to multiply the rows."""
    norms: Tensor = torch.linalg.vector_norm(rows.flatten(1), dim=1, dtype=torch.float64)
    return norms.view(-1, *[1] * (rows.ndim - 1))


class MatchedNoise(Noise):
    """White noise as strong as the deformation: uniform direction, norm |τx - x| of the same image.

    The text's definition (1) says "of magnitude |τ(x) - x|"; the authors' 2D code matches each image, as here, their 1D
    code the average over the data set.

    Args:
        rectified: apply ReLU to the noise after it is matched, not renormalised, which halves its power: the scheme of
            section 4.3 (and of the authors' 1D code), where layers that only add would let plain noise average out.
    """

    def __init__(self, rectified: bool = False):
        self.rectified = bool(rectified)

    def draw(self, images: Tensor, moved: Tensor, randomness: Randomness) -> Tensor:
        direction = randomness.normal(*images.shape[1:]).to(device=images.device)
        size = _norms(moved - images) / _norms(direction)
        dtype = torch.promote_types(images.dtype, direction.dtype)  # in a half type the size would be off by 0.4 %
        noise = (direction.to(dtype) * size.to(dtype)).to(images.dtype)
        return noise.relu() if self.rectified else noise

    def __repr__(self) -> str:
        return f"MatchedNoise(rectified={self.rectified})"


class GaussianNoise(Noise):
    """White Gaussian noise whose L2 norm over an image is ``rms_norm`` in root mean square.

    Each of an image's n numbers gets an independent normal of standard deviation rms_norm / sqrt(n). This is also the
    data corruption of the noisy CIFAR-10 experiments (figures 1 and C3), whose magnitude is the expected L2 norm: it is
    below the rms by a factor 1 - 1/(4 n), 8e-5 at 32x32x3.

    Args:
        rms_norm: sqrt(E|η|²), in units of the (normalised) images; 0 or more.
        rectified: apply ReLU to the noise, not renormalised, which halves its power. With ``rms_norm`` the rms of
            |τx - x| over a data set, this is the noise of the authors' 1D code.

    Raises:
        ValueError: rms_norm negative or not finite.
    """

    def __init__(self, rms_norm: float = 1.0, *, rectified: bool = False):
        self.rectified = bool(rectified)
        self.rms_norm = check_positive(rms_norm, "rms_norm", allow_zero=True)

    def draw(self, images: Tensor, moved: Tensor, randomness: Randomness) -> Tensor:
        normal = randomness.normal(*images.shape[1:]).to(device=images.device, dtype=images.dtype)
        noise = normal * (self.rms_norm / math.sqrt(images[0].numel()))
        return noise.relu() if self.rectified else noise

    def __repr__(self) -> str:
        return f"GaussianNoise(rms_norm={self.rms_norm:g}{', rectified=True' if self.rectified else ''})"


class SpectrumMatchedNoise(Noise):
    """Noise with the power spectrum of τx - x of the same image, its phases random.

    R with white noise compares two things at once: how a perturbation is aligned with the image, and at which spatial
    frequencies it lives (a deformation's difference is mostly low). This control removes the second. All channels share
    the random phases, so that cross-spectra between channels are kept as well; the norm is exactly |τx - x|.
    """

    def draw(self, images: Tensor, moved: Tensor, randomness: Randomness) -> Tensor:
        check_images(images, least_side=1)
        if images.ndim != 4:
            raise ValueError(
                f"images must have axes [N, C, H, W], the last two those of the spectrum; got {tuple(images.shape)}"
            )
        height, width = images.shape[-2:]
        white = torch.fft.rfft2(randomness.normal(1, height, width).to(images.device).double())
        spectrum = torch.fft.rfft2((moved - images).double()) * (white / white.abs())
        noise: Tensor = torch.fft.irfft2(spectrum, s=(height, width))
        return noise.to(images.dtype)

    def __repr__(self) -> str:
        return "SpectrumMatchedNoise()"
