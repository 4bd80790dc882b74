"""A data set of images, decoded one by one when asked for."""

import json
import math
import operator
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from poolscope.datasets.cifar import CIFAR100_MEAN, CIFAR100_STD
from poolscope.datasets.corruption import check_noise, frozen_noise
from poolscope.datasets.source import Source, Statistics
from poolscope.datasets.transform import Pixels, convert_channels, normalise, plain, resize_and_cut, to_pixels
from poolscope.networks.image_format import CIFAR10_MEAN, CIFAR10_STD, IMAGENET_MEAN, IMAGENET_STD, Preprocessing

if TYPE_CHECKING:
    import PIL.Image

Normalization = str | tuple[Sequence[float], Sequence[float]]

_KNOWN = {
    "cifar10": Statistics(CIFAR10_MEAN, CIFAR10_STD),
    "cifar100": Statistics(CIFAR100_MEAN, CIFAR100_STD),
    "imagenet": Statistics(IMAGENET_MEAN, IMAGENET_STD),
}


class ImageDataset(Dataset[tuple[Tensor, int]]):
    """Images and labels by index: ``dataset[i]`` is (float32 [C, H, W], label), label -1 where there is none.

    Made by `open_images`. Nothing but the first image is decoded before it is asked for.

    Attributes:
        name: the specification it was opened from, and the noise if there is any: what a measurement records.
        classes: the names of the labels 0, 1, ..., if known.
        mean, std: what was subtracted from, and what then divided, values in [0, 1], one a channel; ``None`` if the
            values are left in [0, 1].
        shape: (channels, height, width) of every image; (channels, length) of the rows of one-dimensional tasks, whose
            ``dataset[i]`` is float32 [C, L].
        eta, noise_seed: expected norm and seed of the Gaussian corruption that every image has, `frozen_noise`.
    """

    def __init__(
        self,
        source: Source,
        *,
        wanted: Preprocessing | None = None,
        channels: int | None = None,
        normalize: Normalization = "auto",
        count: int | None = None,
        eta: float = 0.0,
        noise_seed: int = 0,
    ) -> None:
        check_noise(eta, noise_seed)
        if count is not None and not 1 <= count <= len(source):
            raise ValueError(f"count must be in 1 .. {len(source)}, the images of {source.name}; got {count}")
        self.name = f"{source.name}, noise of norm {eta:g} (seed {noise_seed})" if eta else source.name
        self.classes = source.classes
        self._source = source
        self._wanted = wanted
        self._length = len(source) if count is None else count
        first = self._picture(0)[0]
        self._converts = channels is not None
        self._channels = channels if channels is not None else 3 if first.mode == "RGB" else 1
        if self._channels not in (1, 3):
            raise ValueError(
                f"a model must take 1 (grey) or 3 (RGB) channels to be given images of {self.name}; got {channels}"
            )
        self._frame = (self._channels, first.height, first.width)
        self._is_rows = getattr(source, "is_rows", False)
        self.shape = (self._channels, first.width) if self._is_rows else self._frame
        statistics = _statistics(normalize, source.statistics, wanted, self._channels)
        self.mean = statistics.mean if statistics else None
        self.std = statistics.std if statistics else None
        self.eta, self.noise_seed = eta, noise_seed

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "channels *size"], int]:
        """One image and its label.

        Raises:
            IndexError: outside -len .. len - 1.
            ValueError: if the image cannot be decoded, has another size than the first while no size was asked for,
                or is in colour while the first is grey.
        """
        pixels, label = self.pixels(index)
        image = normalise(pixels, self.mean, self.std)
        if self.eta:
            index = operator.index(index) % self._length
            image += frozen_noise(torch.tensor([index]), self._frame, self.eta, seed=self.noise_seed)[0]
        return (image[:, 0] if self._is_rows else image).contiguous(), label

    def pixels(self, index: int) -> tuple[Pixels, int]:
        """One image before normalisation and noise, bytes where it has no more than 8 bits, and its label.

        Raises:
            IndexError, ValueError: as for ``dataset[index]``.
        """
        index = operator.index(index)
        if not -self._length <= index < self._length:
            raise IndexError(f"index must be in -{self._length} .. {self._length - 1}; got {index}")
        index %= self._length
        picture, label = self._picture(index)
        if (picture.height, picture.width) != self._frame[1:]:
            raise ValueError(
                f"images must have one size, or size=... must say to which to resize them: image 0 of {self.name} is "
                f"{self._frame[1]}x{self._frame[2]}, image {index} is {picture.height}x{picture.width}"
            )
        pixels = to_pixels(picture)
        if len(pixels) == 3 and self._channels == 1 and not self._converts:
            raise ValueError(
                f"images must all be grey if the first is; image {index} of {self.name} is in colour: name the model "
                "they are for, whose channels they then get"
            )
        return convert_channels(pixels, self._channels), label

    def identity(self) -> dict[str, Any]:
        """What changes whenever `pixels` of any image does, in JSON's types."""
        import PIL

        wanted = None if self._wanted is None else asdict(self._wanted)
        if wanted is not None:
            if wanted["crop"] != "border":  # only there do the statistics fill pixels
                del wanted["mean"]
            del wanted["std"], wanted["channels"]
        identity = {
            "source": self._source.identity(),
            "images": self._length,
            "shape": self._frame,
            "converts": self._converts,
            "wanted": wanted,
            "pillow": PIL.__version__,  # decoders and resizing change with it
        }
        plain: dict[str, Any] = json.loads(json.dumps(identity))
        return plain

    def description(self) -> dict[str, Any]:
        """What a record of a measurement needs to say about the images, in plain types."""
        resize: dict[str, Any] = {"resize": None, "interpolation": None, "crop": None}
        if self._wanted is not None:
            resize = {
                "resize": list(self._wanted.resize),
                "interpolation": self._wanted.interpolation,
                "crop": self._wanted.crop,
            }
        return {
            "name": self.name,
            "images": self._length,
            "shape": list(self.shape),
            "mean": None if self.mean is None else list(self.mean),
            "std": None if self.std is None else list(self.std),
            **resize,
            **({"eta": self.eta, "noise_seed": self.noise_seed} if self.eta else {}),
            **self._source.origin(),
        }

    def _picture(self, index: int) -> "tuple[PIL.Image.Image, int]":
        picture, label = self._source.picture(index)
        picture = plain(picture)
        return picture if self._wanted is None else resize_and_cut(picture, self._wanted), label


def _statistics(
    normalize: Normalization, own: Statistics | None, wanted: Preprocessing | None, channels: int
) -> Statistics | None:
    """The normalisation that was asked for, one value a channel."""
    if normalize == "none":
        return None
    if normalize == "auto":
        if wanted is not None and wanted.mean is not None and wanted.std is not None:
            return Statistics(wanted.mean, wanted.std)
        return None if own is None else Statistics(_spread(own.mean, channels), _spread(own.std, channels))
    if isinstance(normalize, str):
        if normalize not in _KNOWN:
            raise ValueError(
                f"normalize must be auto, none, {', '.join(_KNOWN)} or a pair (means, stds); got {normalize!r}"
            )
        statistics = _KNOWN[normalize]
    else:
        statistics = Statistics(tuple(map(float, normalize[0])), tuple(map(float, normalize[1])))
    if not len(statistics.mean) == len(statistics.std) == channels:
        raise ValueError(
            f"normalize must give one mean and one std a channel, {channels} here; got {len(statistics.mean)} and "
            f"{len(statistics.std)}"
        )
    if not all(0 < std < math.inf for std in statistics.std):
        raise ValueError(f"normalize must give positive stds, images are divided by them; got {statistics.std}")
    return statistics


def _spread(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """A data set's own values for images whose channels were converted: repeated, or averaged to one."""
    if len(values) == channels:
        return values
    return values * channels if len(values) == 1 else (sum(values) / len(values),)
