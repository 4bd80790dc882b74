"""What every deformation has in common: a field for each image, and the images resampled along it."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from poolscope._checks import check_generator, check_images
from poolscope.perturb.mover import Mover
from poolscope.perturb.randomness import GeneratorRandomness, Randomness
from poolscope.perturb.warping import Interpolation, warp


class Deformation(Mover):
    """A random displacement field for each image, and the images moved along it.

    Subclasses say how a field is drawn (``draw``); everything else follows.
    """

    interpolation: Interpolation = "bilinear"

    @abstractmethod
    def draw(self, randomness: Randomness, size: tuple[int, int], *, dtype: torch.dtype) -> Tensor:
        """Draw fields ``[randomness.batch, 2, H, W]`` in pixels on the randomness' device or the CPU."""

    @abstractmethod
    def mean_square(self, size: tuple[int, int]) -> float:
        """Return E|(dx, dy)|² over pixels and draws for images of ``size`` (H, W), in pixels²."""

    def displacement(self, size: tuple[int, int]) -> float:
        """Return the rms of |(dx, dy)| over pixels and draws for images of ``size`` (H, W), in pixels."""
        return math.sqrt(self.mean_square(size))

    def describe(self, size: tuple[int, int]) -> Mapping[str, object]:
        """Return what this ensemble is on images of ``size`` (H, W), for a record."""
        return {"kind": type(self).__name__, "interpolation": self.interpolation}

    def sample(
        self,
        batch: int,
        size: tuple[int, int],
        *,
        generator: torch.Generator,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Float[Tensor, "batch 2 height width"]:
        """Draw one displacement field an image.

        Args:
            batch: number of fields.
            size: (height, width) in pixels.
            generator: source of all randomness; numbers are drawn on its device.
            device: where the field is wanted (default: the generator's).
            dtype: float32 (default) or float64.

        Returns:
            (dx, dy) in pixels, x to the right and y down.

        Raises:
            TypeError: generator is not a ``torch.Generator``.
            ValueError: no field asked for, another dtype, or a size which does not allow this deformation.
        """
        check_generator(generator)
        if batch < 1:
            raise ValueError(f"batch must be at least 1 field; got {batch}")
        if min(size) < 3:
            raise ValueError(
                "size must be (height, width) of at least 3 pixels each, or no pixel lies inside the frame; "
                f"got {size[0]}x{size[1]}"
            )
        if dtype not in (None, torch.float32, torch.float64):
            raise ValueError(
                f"dtype must be float32 or float64, since half types round displacements by up to 0.4 %; got {dtype}"
            )
        field = self.draw(GeneratorRandomness(generator, batch), size, dtype=dtype or torch.float32)
        return field.to(generator.device if device is None else device)

    def __call__(
        self, images: Float[Tensor, "*batch channels height width"], *, generator: torch.Generator
    ) -> Float[Tensor, "*batch channels height width"]:
        """Move each image along a field of its own, shared by its channels.

        Args:
            images: floating point, any leading axes.
            generator: source of all randomness.

        Returns:
            Shape and dtype of ``images``.
        """
        check_images(images)
        check_generator(generator)
        flat = images.reshape(-1, *images.shape[-3:])
        return self.move(flat, GeneratorRandomness(generator, len(flat))).reshape(images.shape)

    def move(self, images: Tensor, randomness: Randomness) -> Tensor:
        """Move ``images`` ``[B, C, H, W]`` along fields drawn from ``randomness``, one an image."""
        dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
        height, width = images.shape[-2:]
        field = self.draw(randomness, (height, width), dtype=dtype).to(images.device)
        return warp(images, field, interpolation=self.interpolation)
