"""A control: the smoothing that resampling does at given fields, without the displacement."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from poolscope.perturb.deformation import Deformation
from poolscope.perturb.randomness import Randomness


class ResamplingBlur(Deformation):
    """Blur each pixel as bilinear resampling at the fields of another deformation does, but leave it in place.

    Reading between two pixels at a fraction t averages them with weights 1 - t and t, a kernel of variance t (1 - t).
    Here each pixel is averaged along x, then y, with weights (v, 1 - 2 v, v), v = t (1 - t) / 2, t the fraction of the
    field there: the same variance, no displacement. With the same seed the fields are those of ``deformation``, so that
    its D minus this one's effect is what the displacement itself does.

    Args:
        deformation: whose fields to use.

    Raises:
        ValueError: the deformation does not interpolate bilinearly: another interpolation blurs in another way.
    """

    def __init__(self, deformation: Deformation):
        if deformation.interpolation != "bilinear":
            raise ValueError(
                "the deformation must interpolate bilinearly, since the blur is that of bilinear resampling; "
                f"got interpolation={deformation.interpolation!r}"
            )
        self.deformation = deformation
        self.interpolation = deformation.interpolation

    def mean_square(self, size: tuple[int, int]) -> float:
        return 0.0

    def describe(self, size: tuple[int, int]) -> dict[str, object]:
        """Return what this control is on images of ``size`` (H, W)."""
        return {"kind": "ResamplingBlur", "displacement": 0.0, "of": self.deformation.describe(size)}

    def draw(self, randomness: Randomness, size: tuple[int, int], *, dtype: torch.dtype) -> Tensor:
        return self.deformation.draw(randomness, size, dtype=dtype)

    def move(self, images: Tensor, randomness: Randomness) -> Tensor:
        dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
        height, width = images.shape[-2:]
        fraction = self.draw(randomness, (height, width), dtype=dtype).to(images.device).frac().abs()
        weight = fraction * (1 - fraction) / 2
        blurred = images.to(dtype)
        padded = F.pad(blurred, (1, 1, 0, 0), mode="replicate")
        blurred = blurred + weight[:, :1] * (padded[..., 2:] - 2 * blurred + padded[..., :-2])
        padded = F.pad(blurred, (0, 0, 1, 1), mode="replicate")
        blurred = blurred + weight[:, 1:] * (padded[..., 2:, :] - 2 * blurred + padded[..., :-2, :])
        return blurred.to(images.dtype)

    def __repr__(self) -> str:
        return f"ResamplingBlur({self.deformation!r})"
