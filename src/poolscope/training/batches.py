"""The training images on their device, given out as augmented, normalised, perhaps noisy batches."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from poolscope.datasets import corrupt, frozen_noise, normalise
from poolscope.perturb import Diffeomorphism
from poolscope.training.augment import crop_and_flip
from poolscope.training.recipe import Recipe
from poolscope.training.seeds import stream, stream_seed


@dataclass(frozen=True)
class Corruption:
    """Gaussian noise added to normalised images.

    Attributes:
        eta: its expected L2 norm; the root mean square, exactly.
        noise: "fresh" at every access (the authors' choice), or "frozen", one noise an image for ever.
        seed: of frozen noise; the images' indices are the rest of its key.
    """

    eta: float = 0.0
    noise: Literal["fresh", "frozen"] = "fresh"
    seed: int = 0

    def __call__(
        self,
        images: Float[Tensor, "images channels height width"],
        indices: Int64[Tensor, "images"],
        *,
        generator_seed: int,
    ) -> Float[Tensor, "images channels height width"]:
        """Add noise, in any case the same for the same seeds and indices.

        Args:
            images: normalised.
            indices: in their data set, the key of frozen noise.
            generator_seed: of fresh noise.
        """
        if not self.eta:
            return images
        if self.noise == "frozen":
            added = frozen_noise(indices.cpu(), tuple(images.shape[1:]), self.eta, seed=self.seed)
            return images + added.to(images.device)
        generator = torch.Generator(images.device).manual_seed(generator_seed)
        return corrupt(images, self.eta, generator=generator)


@dataclass(frozen=True)
class LabelledImages:
    """Images with their labels, as a network is trained and judged on.

    Attributes:
        images: ``[N, C, H, W]``: uint8; or floating point, values in [0, 1] if there is a ``mean``, else normalised.
        labels: ``[N]``, from 0.
        mean: to be subtracted, values in [0, 1], one a channel; ``None``: nothing is.
        std: to be divided by, with ``mean``.
        indices: ``[N]``, in the data set that they were taken from, the key of frozen noise (default: 0 .. N - 1).
        corruption: noise to be added.
    """

    images: Shaped[Tensor, "images channels height width"]
    labels: Int64[Tensor, "images"]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    indices: Int64[Tensor, "images"] | None = None
    corruption: Corruption = Corruption()

    def __post_init__(self) -> None:
        if not len(self.images) or len(self.images) != len(self.labels):
            raise ValueError(
                f"there must be images, and a label for each; got {len(self.images)} and {len(self.labels)}"
            )
        if self.labels.min() < 0:
            raise ValueError(f"labels must be class numbers from 0, to be learned from; got {int(self.labels.min())}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def numbers(self) -> Int64[Tensor, "images"]:
        """The images' indices in their data set."""
        return torch.arange(len(self.images)) if self.indices is None else self.indices

    def normalised(
        self, batch: Shaped[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return some of the images in float32, normalised: the same arithmetic as that of ``load_images``."""
        return normalise(batch, self.mean, self.std)

    def evaluation(
        self, start: int, stop: int, *, seed: int, epoch: int
    ) -> Float[Tensor, "batch channels height width"]:
        """Return images ``start`` .. ``stop`` - 1 as they are judged on: normalised, with their noise."""
        seeded = stream_seed(seed, "evaluation noise", epoch, start)
        return self.corruption(
            self.normalised(self.images[start:stop]), self.numbers[start:stop], generator_seed=seeded
        )

    def to(self, device: torch.device) -> "LabelledImages":
        """Return the same, resident on a device."""
        return LabelledImages(
            self.images.to(device),
            self.labels.to(device),
            self.mean,
            self.std,
            self.numbers.to(device),
            self.corruption,
        )


class Batches:
    """Gives out the batches of an epoch; each depends on (seed, epoch, step) alone, so that any can be made again.

    Order, moves and mirrorings of an epoch are drawn on the CPU at its beginning and moved to the device at once: the
    steps that follow wait for nothing.

    Args:
        data: resident on the device where the network is.
        recipe: batch size and augmentation.
        seed: of order, augmentation and fresh noise.
    """

    def __init__(self, data: LabelledImages, recipe: Recipe, seed: int):
        if recipe.crop_padding >= min(data.images.shape[-2:]):
            raise ValueError(
                f"crop_padding must be below the images' side, {min(data.images.shape[-2:])} pixels, or nothing of "
                f"them may be left; got {recipe.crop_padding}"
            )
        self.data = data
        self.recipe = recipe
        self.seed = seed
        self.steps = -(-len(data) // recipe.batch_size)
        self._epoch: int | None = None
        self._deformation = (
            Diffeomorphism(recipe.deformation, recipe.deformation_cutoff) if recipe.deformation else None
        )

    def __call__(
        self, epoch: int, step: int
    ) -> tuple[Float[Tensor, "batch channels height width"], Int64[Tensor, "batch"]]:
        """Return the images and labels of a step (both from 0) of an epoch."""
        if epoch != self._epoch:
            self._start(epoch)
        chosen = self._order[step]
        device = self.data.images.device
        images = self.data.normalised(
            crop_and_flip(self.data.images, chosen, self._moves[step], self._mirrored[step], fill=self.recipe.crop_fill)
        )
        if self._deformation is not None:
            generator = stream(self.seed, "deformation", epoch, step)
            images = self._deformation(images, generator=generator)
        if self.data.corruption.eta:
            seeded = stream_seed(self.seed, "training noise", epoch, step)
            images = self.data.corruption(images, self.data.numbers.to(device)[chosen], generator_seed=seeded)
        if self.recipe.memory_format == "channels_last":
            images = images.contiguous(memory_format=torch.channels_last)
        return images, self.data.labels[chosen]

    def _start(self, epoch: int) -> None:
        number, recipe, device = len(self.data), self.recipe, self.data.images.device
        generator = stream(self.seed, "order and augmentation", epoch)
        order = torch.randperm(number, generator=generator)
        reach = recipe.crop_padding
        moves = torch.randint(-reach, reach + 1, (number, 2), generator=generator)
        mirrored = torch.rand(number, generator=generator) < (0.5 if recipe.flip else 0.0)
        self._order, self._moves, self._mirrored = (
            each.to(device).tensor_split(self.steps) for each in (order, moves, mirrored)
        )
        self._epoch = epoch
