"""A layer's response to noise, split into its mean over draws of the noise and the rest."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from poolscope.sensitivity.estimate import estimate, quantile_t
from poolscope.sensitivity.moments import Contribution, Offset
from poolscope.sensitivity.sums import LayerSums

_PART = 2**17  # numbers of a temporary: 1 MiB in float64 stays in cache

#: Rounding of sums and of stored numbers, in machine epsilons of their types; see `rounding`.
_SUMS, _STORED = 128, 8


@dataclass(frozen=True)
class Coherence:
    """Columns of ``noise_pileup``'s table of the same names.

    δ = f(x+η) - f(x): ``noise_power`` = E|δ|², ``coherent_power`` = E_x |E_η δ|², in units of the representation
    squared; ``share`` their ratio, ``share_low`` and ``share_high`` its 95 % interval; ``G`` = noise_power / spread.
    """

    noise_power: float
    coherent_power: float
    coherent_power_se: float
    share: float
    share_se: float
    share_low: float
    share_high: float
    G: float
    note: str = ""

    def columns(self) -> dict[str, float | str]:
        """Return the fields by name."""
        return asdict(self)


def split_response(
    clean: Float[Tensor, "batch features"],
    noisy: Float[Tensor, "draws batch features"],
    centre: Float[Tensor, " features"],
    offset: Float[Tensor, " features"] | None = None,
) -> Contribution:
    """Reduce one batch: coherent power, total power, 2 |f - c|² of each image, and Σ (f - c).

    With δ_d = f(x+η_d) - f(x): the total is the mean over d of |δ_d|², the coherent power the mean over d ≠ d' of
    <δ_d, δ_d'> = (|Σ δ_d|² - Σ |δ_d|²) / (n (n - 1)), whose expectation is |E_η δ|² whatever n; a single image's may be
    negative, and is never more than its total. (|mean over d of δ_d|², with d = d' counted, would have total / n as its
    expectation where nothing is coherent.) All is taken in float64, float32 on devices that have none: the two sums
    nearly cancel where little is coherent.

    Args:
        clean: f(x).
        noisy: f(x + η_d), n = 2 draws or more.
        centre: c.
        offset: where to put Σ (f - c), overwritten (default: a new tensor).

    Returns:
        The coherent power in the place of the deformation's, the total as the noise's.
    """
    dtype = torch.float32 if clean.device.type == "mps" else torch.float64
    draws, batch, features = noisy.shape
    if offset is None:
        offset = torch.empty_like(centre)
    squares, square, distance = torch.zeros(3, batch, dtype=dtype, device=clean.device)  # Σ |δ_d|², |Σ δ_d|², …
    step = max(1, _PART // batch)
    for start in range(0, features, step):
        part = slice(start, start + step)
        original = clean[:, part].to(dtype)
        total = torch.zeros_like(original)
        for draw in noisy:
            difference = draw[:, part].to(dtype) - original
            squares += difference.square().sum(dim=1)
            total += difference
        square += total.square().sum(dim=1)
        centred = original - centre[part].to(dtype)
        distance += 2 * centred.square().sum(dim=1)
        offset[part] = centred.sum(dim=0)
    return Contribution((square - squares) / (draws * (draws - 1)), squares / draws, distance, offset)


def rounding(eps: float) -> float:
    """Return the least |δ|, relative to |f| and in root mean square, of which a share is given.

    What rounding does to f(x) is the same in f(x+η_d) - f(x) of every d, coherent by itself: a response that is all
    rounding shows a share of about 1/2. In networks of 6 to 121 layers at initialisation, coherent rounding was up to
    17 machine epsilons of f in float32, 2 of its own in bf16 autocast, which sums in float32; shares of responses above
    this limit were off by 0.006 at most.

    Args:
        eps: machine epsilon of the least precise type that f went through.
    """
    return max(_STORED * eps, _SUMS * min(eps, torch.finfo(torch.float32).eps))


def coherence(
    count: int,
    mean: Float64[Tensor, " 3"],
    covariance: Float64[Tensor, "3 3"],
    offset_square: float,
    mean_power: float,
    *,
    eps: float,
) -> Coherence:
    """Return the coherent share and its error from sums over ``count`` images.

    The share is Σ coherent / Σ total over images. Its standard error is that of a ratio of means over images (delta
    method): the influence of image i on it is (c_i - share t_i) / E t. Images and draws both scatter in it, for every
    image has its own draws. The interval is Student's t.

    Args:
        count: N, number of images, 2 or more.
        mean: means of (c, t, q) over images: coherent and total power, and 2 |f - centre|², for the spread.
        covariance: their covariance.
        offset_square: |mean of f - centre|².
        mean_power: |mean of f|², for the rounding limit.
        eps: machine epsilon of the arithmetic in which f was computed.

    Returns:
        Share, its error and interval are nan, with a note, where f is not finite or sqrt(E|δ|²) is below `rounding`
        times sqrt(E|f|²). G is nan, with a note, where the spread over images is not above rounding.
    """
    nan = math.nan
    found = estimate(count, mean, covariance, offset_square, mean_power, eps=eps)
    coherent, total = float(mean[0]), float(mean[1])
    if found.note == "not finite":
        return Coherence(total, coherent, nan, nan, nan, nan, nan, nan, found.note)
    notes = [] if math.isfinite(found.G) else [f"no G, {found.note}"]
    errors = covariance / count
    coherent_se = math.sqrt(max(float(errors[0, 0]), 0.0))
    power = found.spread * (count - 1) / (2 * count) + mean_power  # E|f|²
    if not total > rounding(eps) ** 2 * power:
        notes.append("no share, the response to the noise is not above rounding")
        return Coherence(total, coherent, coherent_se, nan, nan, nan, nan, found.G, "; ".join(notes))
    share = coherent / total
    influence = torch.tensor([1.0, -share], dtype=torch.float64) / total
    error = math.sqrt(max(float(influence @ errors[:2, :2] @ influence), 0.0))
    reach = quantile_t(count - 1) * error
    return Coherence(
        total, coherent, coherent_se, share, error, share - reach, share + reach, found.G, "; ".join(notes)
    )


class CoherenceSums(LayerSums):
    """Running sums of coherent and total power over batches ``[x; x+η_1; … x+η_n]``, for the input and every layer.

    The coherent power stands where ``LayerSums`` has the deformation's.
    """

    @property
    def versions(self) -> int:
        """Number of versions of an image in a stacked batch."""
        return 1 + self.draws

    def _reduced(self, rows: Tensor, offset: Offset) -> Contribution:
        batch = self.parts[0]
        noisy = rows[batch:].view(self.draws, batch, -1)
        return split_response(rows[:batch], noisy, offset.centre, offset.batch_sum)

    def found(self) -> list[Coherence]:
        """Return what was found for the input and every layer."""
        count = self.moments.count
        results = []
        for number, offset in enumerate(self.offsets):
            assert offset is not None
            results.append(
                coherence(
                    count,
                    self.moments.mean[number],
                    self.moments.covariance[number],
                    offset.mean_square(count),
                    offset.mean_power(count),
                    eps=self._eps[number],
                )
            )
        return results
