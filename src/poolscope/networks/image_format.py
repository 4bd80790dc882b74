"""What a model wants its images to be: size, crop, channels, normalisation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Crop = Literal["center", "squash", "border"]


@dataclass(frozen=True)
class Preprocessing:
    """What a model wants its images to be.

    Attributes:
        size: (height, width) in pixels of what the model sees, cut from the middle of the resized image.
        mean, std: one value a channel, for pixel values in [0, 1]; ``None`` where the model has no say.
        channels: of the images.
        resize: (height, width) in pixels of the box to which the image is resized before the cut.
        interpolation: of the resizing, which averages over the pixels it drops (antialiasing).
        crop: "center": resized with its proportions until it just covers the box; "squash": resized to the box
            exactly; "border": resized with its proportions until it just fits the box, the rest filled with ``mean``.
    """

    size: tuple[int, int]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    channels: int
    resize: tuple[int, int]
    interpolation: Interpolation = "bilinear"
    crop: Crop = "center"


def cifar_preprocessing(*, channels: int, size: int, padding: int) -> Preprocessing:
    """``size`` pixels per side after padding; CIFAR-10's statistics if in colour, else the data set's own."""
    box = (size - 2 * padding, size - 2 * padding)
    colour = channels == 3
    return Preprocessing(box, CIFAR10_MEAN if colour else None, CIFAR10_STD if colour else None, channels, resize=box)


def torchvision_preprocessing(transforms: Any, *, channels: int, size: int | None) -> Preprocessing | None:
    """From the transforms that come with torchvision weights; ``None`` unless they are for classification.

    Args:
        transforms: what ``weights.transforms()`` returned.
        channels: of the model's first convolution.
        size: pixels per side if the model was built for another size than its weights.
    """
    if type(transforms).__name__ != "ImageClassification":
        return None
    crop, resize = transforms.crop_size[0], transforms.resize_size[0]
    if size is not None:
        resize = round(size * resize / crop)
        crop = size
    mean, std = _statistics(transforms.mean, transforms.std, channels)
    interpolation: Any = transforms.interpolation.value
    return Preprocessing((crop, crop), mean, std, channels, (resize, resize), interpolation)


def timm_preprocessing(
    config: Mapping[str, Any], *, channels: int | None, size: int | tuple[int, int] | None
) -> Preprocessing:
    """From a timm ``pretrained_cfg``, at the size of its training.

    Args:
        config: the ``pretrained_cfg``, missing entries as timm fills them in.
        channels: of the model's images, if not the configuration's.
        size: pixels per side, or (height, width), if the model was built for another size than the configuration's.
    """
    from poolscope._torchvision import import_timm

    data = import_timm().data.resolve_data_config({}, pretrained_cfg=dict(config) or {"crop_mode": "center"})
    if channels is None:
        channels = int(data["input_size"][0])
    height, width = data["input_size"][1:]
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
    box = (math.floor(height / data["crop_pct"]), math.floor(width / data["crop_pct"]))
    mean, std = _statistics(data["mean"], data["std"], channels)
    return Preprocessing((height, width), mean, std, channels, box, data["interpolation"], data["crop_mode"])


def _statistics(mean: Any, std: Any, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | tuple[None, None]:
    """RGB statistics for a model of so many channels: their average for one (grey), none for others."""
    mean, std = tuple(map(float, mean)), tuple(map(float, std))
    if len(mean) == channels:
        return mean, std
    if channels == 1:
        return (sum(mean) / len(mean),), (sum(std) / len(std),)
    return None, None
