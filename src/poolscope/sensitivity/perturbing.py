"""The stacked batch [x; τx; x + η], its randomness keyed by seed, image and draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from poolscope.perturb.mover import Mover
from poolscope.perturb.noise import Noise
from poolscope.perturb.randomness import DeviceRandomness, KeyedRandomness, Purpose

#: Also accepted as a deformation: ``(images [1, C, H, W] or [1, C, L], *, generator) -> images``.
DeformationLike = Mover | Callable[..., Tensor]
#: Also accepted as noise: ``(images, moved, *, generator) -> images + noise``.
NoiseLike = Noise | Callable[..., Tensor]


class Perturber:
    """Makes [x; τx of every draw; x + η of every draw] of a batch.

    Args:
        deformation: τ, poolscope's or any callable ``(images, *, generator)``.
        noise: η, poolscope's or any callable ``(images, moved, *, generator)`` that returns x + η.
        seed: 0 .. 2^64 - 1.
        draws: perturbations an image.
        noise_on: where noise is drawn: on the CPU, or, faster on a GPU but with other numbers, on the images' device.

    Raises:
        TypeError: deformation or noise cannot be called.
        ValueError: seed or draws out of range.
    """

    def __init__(
        self,
        deformation: DeformationLike,
        noise: NoiseLike,
        seed: int,
        draws: int,
        noise_on: Literal["cpu", "device"] = "cpu",
    ):
        for name, part in (("deformation", deformation), ("noise", noise)):
            if not callable(part):
                raise TypeError(f"{name} must be callable, as poolscope's are; got {type(part).__name__}")
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**64:
            raise ValueError(f"seed must be a whole number in 0 .. 2^64 - 1, the keys of the generator; got {seed!r}")
        if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
            raise ValueError(f"draws must be a whole number, 1 or more perturbations an image; got {draws!r}")
        self.deformation = deformation
        self.noise = noise
        self.seed = seed
        self.draws = draws
        self.noise_on = noise_on

    @property
    def stack(self) -> int:
        """Number of versions of an image in the stacked batch."""
        return 1 + 2 * self.draws

    def __call__(self, images: Tensor, indices: Tensor) -> Tensor:
        """Return the stacked batch ``[(1 + 2 draws) B, C, H, W]``.

        Args:
            images: ``[B, C, H, W]``, or rows ``[B, C, L]``.
            indices: ``[B]``, each image's index in its data set.
        """
        moved = [self._move(images, indices, draw) for draw in range(self.draws)]
        noisy = [self._add_noise(images, part, indices, draw) for draw, part in enumerate(moved)]
        return torch.cat([images, *moved, *noisy])

    def _move(self, images: Tensor, indices: Tensor, draw: int) -> Tensor:
        randomness = KeyedRandomness(self.seed, indices, draw, Purpose.DEFORMATION)
        if isinstance(self.deformation, Mover):
            return self.deformation.move(images, randomness)
        return self._one_by_one(self.deformation, randomness, "deformation", images)

    def _add_noise(self, images: Tensor, moved: Tensor, indices: Tensor, draw: int) -> Tensor:
        key = (self.seed, indices, draw, Purpose.NOISE)
        on_device = self.noise_on == "device"
        randomness = DeviceRandomness(images.device, *key) if on_device else KeyedRandomness(*key)
        if isinstance(self.noise, Noise):
            return images + self.noise.draw(images, moved, randomness)
        return self._one_by_one(self.noise, randomness, "noise", images, moved)

    @staticmethod
    def _one_by_one(function: Callable[..., Any], randomness: KeyedRandomness, name: str, *batches: Tensor) -> Tensor:
        """Call a foreign sampler on one image at a time: only so is its randomness the image's own."""
        made = []
        for number, generator in enumerate(randomness.generators()):
            # Copies, which the function may work on in place.
            image = function(*(batch[number : number + 1].clone() for batch in batches), generator=generator)
            if not isinstance(image, Tensor) or image.shape != batches[0][:1].shape:
                raise ValueError(
                    f"{name} must return images of the shape it is given, {tuple(batches[0][:1].shape)}; "
                    f"got {tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__}"
                )
            made.append(image.to(batches[0].dtype))
        return torch.cat(made)
