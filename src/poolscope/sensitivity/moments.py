"""Streaming sums behind D, G and R: mergeable, in float64, independent of how images are batched."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_BLOCK = 4096  # float32 sums of this many squares are good to about 1e-7; blocks are added in float64
_SCRATCH = 2**21  # numbers a temporary holds for up to 512 images: 8 MiB stay in cache and are never faulted in anew


class Covariance:
    """Mean and centred second moments of vectors ``[..., p]`` seen one after the other; two of them merge exactly.

    Leading axes (layers) are independent of each other.
    """

    def __init__(self, *shape: int):
        self.count = 0
        self.mean = torch.zeros(shape, dtype=torch.float64)
        self.scatter = torch.zeros(*shape, shape[-1], dtype=torch.float64)

    def update(self, rows: Float[Tensor, "*leading p batch"]) -> None:
        """Add the vectors ``rows[..., i]``."""
        batch = rows.shape[-1]
        if not batch:
            return
        rows = rows.double()
        mean = rows.mean(dim=-1)
        centred = rows - mean[..., None]
        self.merge_sums(batch, mean, centred @ centred.mT)

    def merge_sums(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        """Add ``count`` vectors known by their mean and scatter matrix (Chan, Golub, LeVeque 1983)."""
        if not count:
            return
        total = self.count + count
        shift = mean - self.mean
        self.scatter = self.scatter + scatter + shift[..., :, None] * shift[..., None, :] * (self.count * count / total)
        self.mean = self.mean + shift * (count / total)
        self.count = total

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance matrix ``[..., p, p]``; nan for fewer than two vectors."""
        return self.scatter / (self.count - 1) if self.count > 1 else torch.full_like(self.scatter, torch.nan)


@dataclass
class Contribution:
    """What a batch adds: per-image powers, float64 ``[B]``, and the sum of f - c, ``[F]``."""

    deformation: Tensor
    noise: Tensor
    distance: Tensor
    offset: Tensor


class Offset:
    """Sum of f_i - c over images for one representation, c a fixed reference near the mean.

    With c near the mean nothing cancels: Σ|f_i - mean|² = Σ|f_i - c|² - N |mean - c|².
    """

    def __init__(self, centre: Float[Tensor, " features"]):
        self.centre = centre
        dtype = torch.float32 if centre.device.type == "mps" else torch.float64
        self.sum = torch.zeros(centre.shape, dtype=dtype, device=centre.device)
        self.batch_sum = torch.empty_like(centre)  # of the running batch; kept, since fresh memory is slow

    def add(self, offset: Tensor) -> None:
        """Add a batch's sum of f - c."""
        self.sum += offset

    def mean_square(self, count: int) -> float:
        """Return |mean - c|² after ``count`` images."""
        return float((self.sum / count).square().sum())

    def mean_power(self, count: int) -> float:
        """Return |mean|² after ``count`` images."""
        return float((self.sum / count + self.centre.to(self.sum.dtype)).square().sum())


class Scratch:
    """One temporary, used again and again: fresh large blocks cost a page fault for every 4 KiB."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def __reduce__(self) -> tuple[type[Scratch], tuple[()]]:
        return Scratch, ()  # copies and pickles carry no temporaries

    def rows(self, count: int, features: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return an uninitialised ``[count, features]`` tensor, valid until the next call."""
        key = (dtype, device)
        buffer = self._buffers.get(key)
        if buffer is None or buffer.numel() < count * features:
            buffer = self._buffers[key] = torch.empty(max(count * features, _SCRATCH), dtype=dtype, device=device)
        return buffer[: count * features].view(count, features)


def contribution(
    clean: Float[Tensor, "batch features"],
    moved: Float[Tensor, "draws batch features"],
    noisy: Float[Tensor, "draws batch features"],
    centre: Float[Tensor, " features"],
    scratch: Scratch,
    offset: Float[Tensor, " features"] | None = None,
) -> Contribution:
    """Reduce one batch: |f(τx) - f(x)|², |f(x+η) - f(x)|² (averaged over draws), 2 |f - c|² and Σ (f - c).

    Differences are taken in float32 (float64 for float64 representations), sums of their squares in float64.

    Args:
        clean: f(x).
        moved: f(τx).
        noisy: f(x + η).
        centre: c.
        scratch: where temporaries live.
        offset: where to put Σ (f - c), overwritten (default: a new tensor).
    """
    batch, features = clean.shape
    dtype = torch.float64 if clean.dtype == torch.float64 else torch.float32
    if offset is None:
        offset = torch.empty(features, dtype=dtype, device=clean.device)
    sum_dtype = torch.float32 if clean.device.type == "mps" else torch.float64
    powers = torch.zeros(3, batch, dtype=sum_dtype, device=clean.device)
    step = max(_BLOCK, _SCRATCH // batch // _BLOCK * _BLOCK)
    for start in range(0, features, step):
        part = slice(start, min(start + step, features))
        difference = scratch.rows(batch, part.stop - start, dtype, clean.device)
        original = clean[:, part]
        for row, perturbed in ((0, moved), (1, noisy)):
            for draw in perturbed:
                powers[row] += _square_norms(_subtract(draw[:, part], original, difference))
        powers[2] += 2 * _square_norms(_subtract(original, centre[part], difference))
        torch.sum(difference, dim=0, out=offset[part])
    powers[:2] /= len(moved)
    return Contribution(powers[0], powers[1], powers[2], offset)


def _subtract(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    if a.dtype == b.dtype == out.dtype:
        return torch.sub(a, b, out=out)
    return out.copy_(a).sub_(b)  # half types: the difference is taken in float32


def _square_norms(rows: Tensor) -> Tensor:
    """Return |row|² in float64: blocks in the rows' own type, their sum in float64."""
    whole = rows.shape[1] // _BLOCK * _BLOCK
    sum_dtype = torch.float32 if rows.device.type == "mps" else torch.float64
    parts = []
    if whole:
        blocks = rows[:, :whole].unflatten(1, (-1, _BLOCK))
        parts.append(torch.linalg.vector_norm(blocks, dim=2))
    if whole < rows.shape[1]:
        parts.append(torch.linalg.vector_norm(rows[:, whole:], dim=1, keepdim=True))
    return torch.cat(parts, dim=1).to(sum_dtype).square().sum(dim=1)
