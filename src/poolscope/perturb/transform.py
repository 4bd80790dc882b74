"""Random diffeomorphisms as data augmentation: a ``torchvision.transforms.v2`` transform."""

from __future__ import annotations

from typing import Any, Literal

import torch
from PIL import Image

from poolscope._checks import check_positive
from poolscope._torchvision import import_torchvision
from poolscope.perturb.diffeomorphism import Diffeomorphism
from poolscope.perturb.folding import temperature_range
from poolscope.perturb.warping import warp

import_torchvision()
from torchvision import tv_tensors  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

_MOVED = (tv_tensors.Image, tv_tensors.Video, tv_tensors.Mask)
_MODES = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "F", "I")


class RandomDiffeomorphism(v2.Transform):
    """Move an image along a random smooth field; masks of the same sample move with it, by nearest neighbour.

    Bounding boxes and key points stay as they are. A leading batch axis shares one field, as with the other transforms
    of torchvision. Like these it draws from torch's global generator, which data loaders seed in each worker. Byte
    images are moved in float32, wider whole numbers in float64, and rounded back.

    Args:
        displacement: true rms of |(dx, dy)| in pixels (default: min(H, W) / 32); ``sampling="fixed"`` only.
        cutoff: highest mode; ``sampling="fixed"`` only.
        p: probability of moving a sample at all.
        sampling: ``"fixed"`` ensemble, or ``"published"``: cutoff and temperature drawn for each sample from Beta
            distributions over ``cutoffs`` and over the authors' ``temperature_range``.
        cutoffs: lowest and highest cutoff of the published sampling, from 2.
        temperature_beta: (s, r) of the temperature's Beta: s = α + β (how peaked), r = α / β (how high).
        cutoff_beta: (s, r) of the cutoff's Beta.
        largest: highest temperature, as a share of the published T2.

    Raises:
        ValueError: a probability outside 0 .. 1, a range upside down, or a negative amplitude.

    Source: the Beta sampling is that of pcsl-epfl/diffeomorphism.
    """

    def __init__(
        self,
        displacement: float | None = None,
        cutoff: int = 3,
        *,
        p: float = 1.0,
        sampling: Literal["fixed", "published"] = "fixed",
        cutoffs: tuple[int, int] = (2, 15),
        temperature_beta: tuple[float, float] = (2.0, 1.0),
        cutoff_beta: tuple[float, float] = (2.0, 1.0),
        largest: float = 1.0,
    ):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p must be a probability in 0 .. 1; got {p}")
        if sampling not in ("fixed", "published"):
            raise ValueError(f"sampling must be one of fixed, published; got {sampling!r}")
        if not 2 <= cutoffs[0] <= cutoffs[1]:
            raise ValueError(f"cutoffs must be 2 <= lowest <= highest, since ln 1 = 0; got {cutoffs}")
        for name, pair in (("temperature_beta", temperature_beta), ("cutoff_beta", cutoff_beta)):
            check_positive(pair[0], name)
            check_positive(pair[1], name)
        self.ensemble = Diffeomorphism(displacement, cutoff)
        self.p = p
        self.sampling = sampling
        self.cutoffs = cutoffs
        self.temperature_beta = temperature_beta
        self.cutoff_beta = cutoff_beta
        self.largest = check_positive(largest, "largest")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw one field for the sample, or none."""
        if torch.rand(()) >= self.p:
            return {"field": None}
        height, width = v2.query_size(flat_inputs)
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        ensemble = self.ensemble if self.sampling == "fixed" else self._published(min(height, width))
        return {"field": ensemble.sample(1, (height, width), generator=generator)[0]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Move one image, video or mask; bounding boxes and whatever else there is pass unchanged."""
        field = params["field"]
        if field is None or (isinstance(inpt, tv_tensors.TVTensor) and not isinstance(inpt, _MOVED)):
            return inpt
        if isinstance(inpt, Image.Image):
            if inpt.mode not in _MODES:
                raise ValueError(
                    f"a PIL image must have a mode between whose values one can interpolate, {', '.join(_MODES)}; "
                    f"got {inpt.mode!r} (convert it first)"
                )
            moved = self.transform(v2.functional.pil_to_tensor(inpt), params)
            return v2.functional.to_pil_image(moved, mode=inpt.mode)
        plain = inpt.as_subclass(torch.Tensor)
        is_whole = not plain.dtype.is_floating_point
        values = plain.to(torch.float32 if plain.dtype == torch.uint8 else torch.float64) if is_whole else plain
        nearest = isinstance(inpt, tv_tensors.Mask)
        image = values[None] if values.ndim == 2 else values
        moved = warp(image, field, interpolation="nearest" if nearest else "bilinear").reshape(plain.shape)
        if is_whole:
            moved = moved.round_().to(plain.dtype)
        return tv_tensors.wrap(moved, like=inpt) if isinstance(inpt, tv_tensors.TVTensor) else moved

    def _published(self, side: int) -> Diffeomorphism:
        lowest, highest = self.cutoffs
        highest = min(highest, side - 2)
        cutoff = int(lowest + _beta(*self.cutoff_beta) * (highest + 1 - lowest))
        cutoff = min(cutoff, highest)
        coldest, hottest = temperature_range(side, cutoff)
        hottest = max(coldest, self.largest * hottest)
        temperature = coldest + _beta(*self.temperature_beta) * (hottest - coldest)
        return Diffeomorphism(temperature=temperature, cutoff=cutoff, fold="ignore")


def _beta(total: float, ratio: float) -> float:
    """Draw from Beta(α, β) with α + β = ``total`` and α / β = ``ratio``."""
    beta = total / (1 + ratio)
    return float(torch.distributions.Beta(total - beta, beta).sample())
