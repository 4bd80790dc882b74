"""From a decoded picture to the tensor a model takes: resize, cut, scale to [0, 1], convert channels, normalise."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from poolscope.networks.image_format import Preprocessing

if TYPE_CHECKING:
    import PIL.Image

Bytes = UInt8[Tensor, "... channels height width"]
Values = Float32[Tensor, "... channels height width"]
Pixels = UInt8[Tensor, "_ height width"] | Float32[Tensor, "_ height width"]

_LUMA = (0.299, 0.587, 0.114)  # of ITU-R 601-2, what PIL and torchvision use


def plain(picture: "PIL.Image.Image") -> "PIL.Image.Image":
    """The picture as 8-bit RGB, 8-bit grey (L) or grey floats in [0, 1] (F); transparency is dropped.

    16-bit grey becomes floats. Pictures of floats are taken to be in [0, 1] already.
    """
    import PIL.Image

    if picture.mode in ("RGB", "L", "F"):
        return picture
    if picture.mode.startswith("I"):
        return PIL.Image.fromarray(np.asarray(picture).astype(np.float32) / 65535)
    return picture.convert("L" if picture.mode in ("1", "LA", "La") else "RGB")


def resize_and_cut(picture: "PIL.Image.Image", wanted: Preprocessing) -> "PIL.Image.Image":
    """Resize the picture to the box and cut the size from its middle, as torchvision and timm do, pixel for pixel."""
    import PIL.Image

    width, height = picture.size
    box_height, box_width = wanted.resize
    if wanted.crop == "squash":
        new_height, new_width = box_height, box_width
    elif wanted.crop == "border":
        shrink = max(height / box_height, width / box_width)
        new_height, new_width = round(height / shrink), round(width / shrink)
    elif box_height == box_width:  # shorter side exact, longer side rounded down
        new_height = box_height if height <= width else int(box_height * height / width)
        new_width = box_width if width <= height else int(box_width * width / height)
    else:
        shrink = min(height / box_height, width / box_width)
        new_height, new_width = round(height / shrink), round(width / shrink)
    if (new_height, new_width) != (height, width):
        method = PIL.Image.Resampling[wanted.interpolation.upper()]
        picture = picture.resize((max(1, new_width), max(1, new_height)), method)
    return _cut(picture, wanted)


def to_pixels(picture: "PIL.Image.Image") -> Pixels:
    """Bytes for 8-bit pictures, float32 in [0, 1] for those of floats; one channel for grey and three for RGB."""
    values = torch.from_numpy(np.array(picture))  # a copy, because torch wants writable memory
    return values[None] if values.ndim == 2 else values.permute(2, 0, 1)


def to_unit(pixels: Bytes | Values) -> Values:
    """Bytes as float32 in [0, 1], in new memory; values that are floats already are copied."""
    if pixels.dtype == torch.float32:
        return pixels.clone()
    # a tensor, because CUDA multiplies by the inverse of a plain number, which can differ in the last bit
    return pixels.float().div_(torch.tensor(255.0, device=pixels.device))


def normalise(pixels: Bytes | Values, mean: Sequence[float] | None, std: Sequence[float] | None) -> Values:
    """(pixels / 255 - mean) / std, channel by channel, on the device of the pixels: float32, in new memory.

    Every data set of the package is normalised here, so that images are the same to the last bit by whichever way
    they come.

    Args:
        pixels: bytes, or float32 in [0, 1].
        mean, std: for values in [0, 1], one a channel; without them the values stay in [0, 1].
    """
    values = to_unit(pixels)
    if mean is None or std is None:
        return values
    shape = (-1, 1, 1)
    return values.sub_(values.new_tensor(mean).reshape(shape)).div_(values.new_tensor(std).reshape(shape))


def to_tensor(picture: "PIL.Image.Image") -> Float[Tensor, "channels height width"]:
    """Values in [0, 1], float32; one channel for grey pictures and three for RGB."""
    return to_unit(to_pixels(picture))


def convert_channels(pixels: Pixels, channels: int) -> Pixels:
    """Grey repeated to RGB, RGB weighted to grey (ITU-R 601-2 luma, floats in [0, 1]), or the image itself."""
    if len(pixels) == channels:
        return pixels
    if channels == 3:
        return pixels.expand(3, -1, -1)
    image = to_unit(pixels)
    return torch.einsum("c,chw->hw", image.new_tensor(_LUMA), image)[None]


def _cut(picture: "PIL.Image.Image", wanted: Preprocessing) -> "PIL.Image.Image":
    import PIL.Image

    height, width = wanted.size
    left, top = _first_pixel(picture.width, width), _first_pixel(picture.height, height)
    if left < 0 or top < 0:
        canvas = PIL.Image.new(picture.mode, (width, height), _fill(picture.mode, wanted))
        canvas.paste(picture, (-left, -top))
        return canvas
    if (width, height) == picture.size:
        return picture
    return picture.crop((left, top, left + width, top + height))


def _first_pixel(length: int, cut: int) -> int:
    """Where a cut from the middle begins; negative if it reaches beyond both ends. Halves go as in torchvision."""
    return round((length - cut) / 2) if length >= cut else -((cut - length) // 2)


def _fill(mode: str, wanted: Preprocessing) -> float | tuple[int, ...]:
    if wanted.crop != "border" or wanted.mean is None:
        return (0, 0, 0) if mode == "RGB" else 0
    if mode == "RGB":
        return tuple(round(255 * mean) for mean in (wanted.mean if len(wanted.mean) == 3 else wanted.mean * 3))
    grey = sum(wanted.mean) / len(wanted.mean)
    return grey if mode == "F" else round(255 * grey)
