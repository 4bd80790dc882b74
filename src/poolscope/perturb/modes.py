"""Sine modes of a displacement field: which there are, how strong each is, and sums of them on the pixel grid."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from poolscope.perturb.warping import centres


def exact_products(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Run matrix products on ``device`` in full precision, whatever autocast or float32 precision the caller set."""
    # A field rounded to bfloat16 or TF32 would be off by up to 0.4 % and no longer exactly zero-mean over draws.
    if _is_full_float32() and not torch.is_autocast_enabled(device.type):
        return contextlib.nullcontext()  # by far the commonest case, and the others cost as much as a product
    return _without_shortcuts(device)


def _is_full_float32() -> bool:
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # torch 2.9 on: something was lowered by the newer switches, which this one cannot express
        return False


@contextlib.contextmanager
def _without_shortcuts(device: torch.device) -> Iterator[None]:
    with torch.autocast(device.type, enabled=False):
        if hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # torch 2.9 on
            switches: list[Any] = [torch.backends.cuda.matmul, torch.backends.mkldnn.matmul]  # type: ignore[attr-defined]
            before = [switch.fp32_precision for switch in switches]
            try:
                for switch in switches:
                    switch.fp32_precision = "ieee"
                yield
            finally:
                for switch, precision in zip(switches, before, strict=True):
                    switch.fp32_precision = precision
        else:
            precision = torch.get_float32_matmul_precision()
            torch.set_float32_matmul_precision("highest")
            try:
                yield
            finally:
                torch.set_float32_matmul_precision(precision)


def check_cutoff(cutoff: int, height: int, width: int) -> None:
    """Refuse a cutoff outside 1 .. min(height, width) - 2.

    Raises:
        ValueError: mode i on n pixels vanishes on every pixel at i = n - 1, so that n - 2 is the highest one.
    """
    highest = min(height, width) - 2
    if not 1 <= cutoff <= highest:
        raise ValueError(
            f"cutoff must be in 1 .. min(H, W) - 2 = {highest}, the modes {height}x{width} pixels resolve; got {cutoff}"
        )


@dataclass(frozen=True)
class Modes:
    """The modes (i, j), i along x and j along y, with i² + j² <= (cutoff + 1/2)² on ``height`` x ``width`` pixels.

    Pixel k of n lies at k / (n - 1), so that every mode is zero on the outermost pixels.
    Source: Petrini et al., NeurIPS 2021 (maximum-entropy diffeomorphisms).
    """

    height: int
    width: int
    cutoff: int

    @property
    def numbers(self) -> tuple[Tensor, Tensor]:
        """Mode numbers i and j, each integer ``[M]``, in a fixed order."""
        return _numbers(self.cutoff)

    @property
    def amplitudes(self) -> Tensor:
        """Standard deviation of each mode at temperature 1: 1 / sqrt(i² + j²), float64 ``[M]``."""
        i, j = self.numbers
        return (i**2 + j**2).double().rsqrt()

    @property
    def pixel_mean(self) -> float:
        """Mean square over the pixels of a mode of amplitude 1: on n pixels, sin² averages (n - 1) / (2 n) exactly."""
        return (self.height - 1) / (2 * self.height) * (self.width - 1) / (2 * self.width)

    @property
    def unit_rms(self) -> float:
        """Return the rms of |(dx, dy)| over pixels and draws when every mode has its amplitude at temperature 1."""
        return _unit_rms(self)


@functools.lru_cache(maxsize=256)
def _numbers(cutoff: int) -> tuple[Tensor, Tensor]:
    side = torch.arange(1, cutoff + 1)
    inside = side[:, None] ** 2 + side**2 <= (cutoff + 0.5) ** 2
    j, i = inside.nonzero(as_tuple=True)
    return i + 1, j + 1


@functools.lru_cache(maxsize=256)
def _unit_rms(modes: Modes) -> float:
    return math.sqrt(2 * modes.pixel_mean * modes.amplitudes.square().sum().item())


@functools.lru_cache(maxsize=64)
def sines(size: int, cutoff: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "size cutoff"]:
    """Return sin(i π k / (size - 1)) for pixels k and modes i = 1 .. cutoff; exactly zero on both frame pixels."""
    positions = torch.arange(size, dtype=torch.float64) / (size - 1)
    table = torch.sin(math.pi * positions[:, None] * torch.arange(1, cutoff + 1, dtype=torch.float64))
    table[0] = 0
    table[-1] = 0  # sin(π) is 1.2e-16 in floating point
    return table.to(device=device, dtype=dtype)


def field_from_coefficients(
    coefficients: Float[Tensor, "batch 2 modes"], modes: Modes
) -> Float[Tensor, "batch 2 height width"]:
    """Sum the modes: two small matrix products for the whole batch.

    Args:
        coefficients: weight of each mode for dx and dy, in pixels, in the order of ``modes.numbers``.
        modes: which modes, on which pixels.

    Returns:
        The displacement (dx, dy) of each pixel, in pixels, exactly zero on the frame.
    """
    dtype, device = coefficients.dtype, coefficients.device
    i, j = modes.numbers
    square = coefficients.new_zeros(coefficients.shape[0], 2, modes.cutoff, modes.cutoff)
    square[:, :, j - 1, i - 1] = coefficients
    along_x = sines(modes.width, modes.cutoff, dtype, device)
    along_y = sines(modes.height, modes.cutoff, dtype, device)
    return _on_pixels(square, along_y, along_x.T)


def grid_from_coefficients(
    coefficients: Float[Tensor, "batch 2 modes"], modes: Modes
) -> Float[Tensor, "batch height width 2"]:
    """Sum the modes straight into the sampling grid of ``grid_sample`` (``align_corners=False``).

    Equals ``sampling_grid(field_from_coefficients(...))`` to rounding, but passes over the pixels once: each pixel's
    own position enters the products as two further functions, a constant and a ramp.
    """
    factors = _grid_factors(modes, coefficients.dtype, coefficients.device)
    weights = factors.position.expand(coefficients.shape[0], -1).clone(memory_format=torch.contiguous_format)
    weights.index_copy_(1, factors.places, (coefficients * factors.unit).flatten(1))
    square = weights.view(-1, 2, modes.cutoff + 2, modes.cutoff + 2)
    return _on_pixels(square, factors.along_y, factors.along_x).permute(0, 2, 3, 1)


def _on_pixels(
    square: Float[Tensor, "batch 2 j i"], along_y: Float[Tensor, "height j"], along_x: Float[Tensor, "i width"]
) -> Float[Tensor, "batch 2 height width"]:
    """Return ``along_y @ square @ along_x``, the longer product last and image by image, which is fastest."""
    planes = 2 * square.shape[0]
    with exact_products(square.device):
        rows = square.view(-1, square.shape[-1]) @ along_x
        pixels = torch.bmm(along_y.expand(planes, -1, -1), rows.view(planes, -1, along_x.shape[1]))
    return pixels.view(-1, 2, *pixels.shape[1:])


class _GridFactors(NamedTuple):
    along_y: Tensor  # [H, cutoff + 2]: the modes, 1, and the pixel's position
    along_x: Tensor  # [cutoff + 2, W]: the modes, the pixel's position, and 1
    position: Tensor  # [2 (cutoff + 2)²]: weights of the undeformed grid
    places: Tensor  # [2 M]: where the coefficients go among the weights
    unit: Tensor  # [2, 1]: pixels in the units of the grid, negative since a pixel reads from (x - dx, y - dy)


@functools.lru_cache(maxsize=64)
def _grid_factors(modes: Modes, dtype: torch.dtype, device: torch.device) -> _GridFactors:
    cutoff, side = modes.cutoff, modes.cutoff + 2
    x, y = centres(modes.width, dtype, device)[:, None], centres(modes.height, dtype, device)[:, None]
    along_x = torch.cat([sines(modes.width, cutoff, dtype, device), x, torch.ones_like(x)], dim=1).T.contiguous()
    along_y = torch.cat([sines(modes.height, cutoff, dtype, device), torch.ones_like(y), y], dim=1)
    position = torch.zeros(2, side, side, dtype=dtype, device=device)
    position[0, cutoff, cutoff] = 1  # 1 along y times x
    position[1, cutoff + 1, cutoff + 1] = 1  # y times 1 along x
    i, j = modes.numbers
    place = (j - 1) * side + i - 1
    unit = torch.tensor([[-2 / modes.width], [-2 / modes.height]], dtype=dtype, device=device)
    return _GridFactors(along_y, along_x, position.flatten(), torch.cat([place, side**2 + place]).to(device), unit)
