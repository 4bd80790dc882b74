"""From a decoded picture to the tensor a model takes: resize, cut, scale to [0, 1], convert channels, normalise."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from poolscope.networks.image_format import Preprocessing

if TYPE_CHECKING:
    import PIL.Image

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


def to_tensor(picture: "PIL.Image.Image") -> Float[Tensor, "channels height width"]:
    """Values in [0, 1], float32; one channel for grey pictures and three for RGB."""
    values = np.array(picture, dtype=np.float32)  # a copy, because torch wants writable memory
    if picture.mode != "F":
        values /= 255
    image = torch.from_numpy(values)
    return image[None] if image.ndim == 2 else image.permute(2, 0, 1)


def convert_channels(
    image: Float[Tensor, "channels height width"], channels: int
) -> Float[Tensor, "converted height width"]:
    """Grey repeated to RGB, RGB weighted to grey (ITU-R 601-2 luma), or the image itself."""
    if len(image) == channels:
        return image
    if channels == 3:
        return image.expand(3, -1, -1)
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
