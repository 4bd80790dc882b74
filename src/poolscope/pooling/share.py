"""The spatial share of a fall of R, with errors crossed over images and shuffles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from poolscope.sensitivity.estimate import quantile_t


@dataclass(frozen=True)
class Crossed:
    """A mean over shuffles, its standard error over images and shuffles, and its 95 % interval."""

    value: float
    se: float
    low: float
    high: float


NOTHING = Crossed(math.nan, math.nan, math.nan, math.nan)


def crossed(
    values: Float64[Tensor, " draws"],
    gradients: Float64[Tensor, "draws p"],
    covariance: Float64[Tensor, "p p"],
    count: int,
) -> Crossed:
    """Return the mean of a statistic over shuffles, with its error where every shuffle saw every image.

    Images and shuffles are both samples: variance components of images, shuffles and their interaction add up as in a
    two-way random design. The scatter over shuffles holds σ²_s / S + σ²_si / (S N), that of the image means
    σ²_i / N + σ²_si / (S N); their sum counts the interaction twice, and its own estimate is taken off once. The error
    is never taken below either of the two, which makes it too large where there is little but interaction. The interval
    is Student's t with Satterthwaite's degrees of freedom. In Gaussian simulations of 2 to 8 shuffles and 10 to 200
    images it holds the truth in 92 to 97 % of experiments, and in 98 to 99.9 % where all variance is interaction.

    Args:
        values: the statistic of each shuffle.
        gradients: its derivatives by the ``p`` means it is made of (delta method).
        covariance: of the ``p`` per-image quantities.
        count: number of images.

    Returns:
        Standard error and interval are nan for a single shuffle, whose scatter is not known.
    """
    draws = len(values)
    mean = values.mean()
    if draws < 2:
        return Crossed(float(mean), math.nan, math.nan, math.nan)
    average = gradients.mean(dim=0)
    rest = gradients - average
    over_images = float(average @ covariance @ average) / count
    over_draws = float(values.var()) / draws
    both = float((rest @ covariance * rest).sum()) / (draws - 1) / (draws * count)
    variance = max(over_images + over_draws - both, over_images, over_draws)
    if variance == 0:
        return Crossed(float(mean), 0.0, float(mean), float(mean))
    spread = over_draws**2 / (draws - 1) + over_images**2 / (count - 1) + both**2 / ((draws - 1) * (count - 1))
    reach = quantile_t(max(variance**2 / spread, 1.0)) * math.sqrt(variance)
    return Crossed(float(mean), math.sqrt(variance), float(mean) - reach, float(mean) + reach)


@dataclass(frozen=True)
class Share:
    """R of the shuffled copies (geometric mean) and the spatial share, or nan with a note."""

    shuffled: Crossed
    share: Crossed
    note: str


def spatial_share(mean: Float64[Tensor, " p"], covariance: Float64[Tensor, "p p"], count: int) -> Share:
    """Return log(R_shuffled / R_input) / log(R / R_input) from means and covariance of per-image powers.

    Error and interval are linearised in the denominator (delta method). In simulations of 100 images and 8 shuffles the
    interval held the truth in 93 to 98 % of experiments where log(R / R_input) was 5 of its standard errors away from
    0; at 3, in 90 to 93 % of those experiments that gave a share (of 0.5 to 2) at all; at 2, in 79 to 87 %, and the
    share came out too close to 0, since only denominators that chance made large are let through. A note marks what
    is less than 4 away.

    Args:
        mean: of (a, b) at the input, of the network, and of each shuffled copy, p = 2 (2 + draws): a = |f(τx) - f(x)|²
            and b = |f(x+η) - f(x)|², R = mean a / mean b.
        covariance: of the same.
        count: number of images.
    """
    usable = bool(torch.isfinite(mean).all()) and bool((mean > 0).all())
    if not usable:
        return Share(NOTHING, NOTHING, "R is not defined and positive for the network and all shuffled copies")
    logs, gradients = _logs(mean)
    shuffled = crossed(logs[2:], gradients[2:], covariance, count)
    value, low, high = torch.tensor([shuffled.value, shuffled.low, shuffled.high], dtype=torch.float64).exp().tolist()
    shuffled = Crossed(value, value * shuffled.se, low, high)
    fall, fall_gradient = float(logs[1] - logs[0]), gradients[1] - gradients[0]
    fall_se = math.sqrt(max(float(fall_gradient @ covariance @ fall_gradient), 0.0) / count)
    if not abs(fall) > quantile_t(count - 1) * fall_se + _ROUNDING:
        return Share(shuffled, NOTHING, "R does not differ measurably from the input's: nothing to share out")
    shares = (logs[2:] - logs[0]) / fall
    share_gradients = (gradients[2:] - gradients[0] - shares[:, None] * fall_gradient) / fall
    notes = []
    if float((logs[2:] - logs[1]).abs().max()) <= _ROUNDING:
        notes.append("shuffling changes nothing here")
    else:
        if len(shares) == 1:
            notes.append("one shuffle: its standard error is not known")
        if abs(fall) < _CLEAR * fall_se:
            notes.append(f"R differs from the input's by less than {_CLEAR} standard errors: rough")
    return Share(shuffled, crossed(shares, share_gradients, covariance, count), "; ".join(notes))


def log_ratios(mean: Float64[Tensor, " p"], covariance: Float64[Tensor, "p p"], count: int) -> Crossed:
    """Return log(R_s / R), averaged over shuffles s and crossed over images and shuffles.

    Args:
        mean: positive, of (a, b) of the network, and of each shuffled copy, p = 2 (1 + draws).
        covariance: of the same.
        count: number of images.
    """
    logs, gradients = _logs(mean)
    return crossed(logs[1:] - logs[0], gradients[1:] - gradients[0], covariance, count)


def _logs(mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return log(a / b) of each pair, and its derivatives by all the means."""
    pairs = mean.view(-1, 2)
    gradients = torch.zeros(len(pairs), len(mean), dtype=torch.float64)
    for number, (a, b) in enumerate(pairs.tolist()):
        gradients[number, 2 * number] = 1 / a
        gradients[number, 2 * number + 1] = -1 / b
    return (pairs[:, 0] / pairs[:, 1]).log(), gradients


#: A denominator of fewer standard errors makes the share rough.
_CLEAR = 4

#: Differences of log R below this are rounding: powers are sums of float32 squares.
_ROUNDING = 1e-6
