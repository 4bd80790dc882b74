"""What ``measure`` asks of a deformation: to move images by random numbers that are each image's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor

from poolscope.perturb.randomness import Randomness


class Mover(ABC):
    """Anything that moves the content of images at random: smooth fields, or active pixels one by one."""

    @abstractmethod
    def move(self, images: Tensor, randomness: Randomness) -> Tensor:
        """Return τx of images ``[B, C, H, W]`` or ``[B, C, L]``, one move an image, drawn from ``randomness``."""

    @abstractmethod
    def displacement(self, size: tuple[int, int]) -> float:
        """Return the rms displacement on images of ``size`` (H, W), in pixels.

        Raises:
            ValueError: the deformation does not go with that size.
        """

    @abstractmethod
    def describe(self, size: tuple[int, int]) -> Mapping[str, object]:
        """Return what this is on images of ``size`` (H, W), for a record."""
