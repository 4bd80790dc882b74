"""From sums to numbers: D, G, R with standard errors and intervals, or nan with the reason."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

#: Confidence of the interval on R.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """D, G, R of one representation, the columns of the result table of the same names.

    ``deformation_power`` = E|f(τx) - f(x)|², ``noise_power`` = E|f(x+η) - f(x)|², ``spread`` = E|f(x1) - f(x2)|², in
    units of the representation squared. ``R_low`` and ``R_high`` bound R with 95 % confidence.
    """

    D: float
    D_se: float
    G: float
    G_se: float
    R: float
    R_se: float
    R_low: float
    R_high: float
    deformation_power: float
    noise_power: float
    spread: float
    note: str = ""

    def columns(self) -> dict[str, float | str]:
        """Return the fields by name."""
        return asdict(self)


def quantile_t(degrees: int | float) -> float:
    """Return the two-sided 95 % quantile of Student's t with ``degrees`` of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))


def estimate(
    count: int,
    mean: Tensor,
    covariance: Tensor,
    offset_square: float,
    mean_power: float,
    *,
    eps: float,
    identical_pairs: bool = False,
) -> Estimate:
    """Return D, G, R (equation 1) from the sums over ``count`` images.

    The spread is 2 / (N - 1) Σ |f_i - mean|², the mean over pairs i ≠ j. Standard errors are those of ratios of means
    (delta method) over images: the influence of image i on D is D (a_i / E a - (q_i - E q) / s - 1) with
    a_i = |f(τx_i) - f(x_i)|², q_i = 2 |f_i - c|² and s the spread. A c beside the mean widens them on average: for
    Gaussian f and c the mean of n images the variance of q is 1 + 2 / n times larger. R's interval is Student's t on
    log R.

    Args:
        count: N, number of images, 2 or more.
        mean: means of (a, b, q) over images, float64 ``[3]``.
        covariance: their covariance, float64 ``[3, 3]``.
        offset_square: |mean of f - c|².
        mean_power: |mean of f|², for the rounding limit.
        eps: machine epsilon of the arithmetic in which f was computed.
        identical_pairs: count pairs i = j too, as the authors' code does: the spread is (N - 1) / N times smaller.

    Returns:
        D, G, R and their errors are nan, with a note, where f is not finite or the spread is not above rounding,
        (8 eps)² E|f|²; R is nan where the noise power is 0.
    """
    a, b, q = (float(value) for value in mean)
    scatter = max(q / 2 - offset_square, 0.0)  # mean |f - mean of f|²
    pair_factor = 2.0 if identical_pairs else 2.0 * count / (count - 1)
    spread = pair_factor * scatter
    if not all(math.isfinite(value) for value in (a, b, q, mean_power)):
        return _nothing(a, b, math.nan, "not finite")
    floor = (8 * eps) ** 2 * (scatter + mean_power)
    if not spread > floor:
        return _nothing(a, b, spread, "constant: the spread over images is not above rounding")
    variance = (covariance / count).tolist()
    means = [a, b, 2 * scatter]  # of a, b, and q about the mean of f: the spread without its pair factor
    D_se = a / spread * _relative_error(variance, means, 0, 2)
    G_se = b / spread * _relative_error(variance, means, 1, 2)
    R = R_se = R_low = R_high = math.nan
    note = ""
    if b > 0 and a > 0:
        R = a / b
        log_error = _relative_error(variance, means, 0, 1)
        R_se = R * log_error
        reach = quantile_t(count - 1) * log_error
        R_low, R_high = R * _exp(-reach), R * _exp(reach)
    elif b > 0:
        R, R_se = 0.0, 0.0
        note = "no response to the deformation"
    else:
        note = "no response to the noise"
    return Estimate(a / spread, D_se, b / spread, G_se, R, R_se, R_low, R_high, a, b, spread, note)


def _relative_error(variance: list[list[float]], means: list[float], one: int, other: int) -> float:
    """Return the relative standard error of means[one] / means[other] (delta method), 0 where they are 0."""
    if means[one] == 0:
        return 0.0
    first, second, both = (variance[i][j] / means[i] / means[j] for i, j in ((one, one), (other, other), (one, other)))
    return math.sqrt(max(first + second - 2 * both, 0.0))


def _exp(value: float) -> float:
    return math.exp(value) if value < 709 else math.inf


def _nothing(a: float, b: float, spread: float, note: str) -> Estimate:
    nan = math.nan
    return Estimate(nan, nan, nan, nan, nan, nan, nan, nan, a, b, spread, note)


def epsilon(dtype: torch.dtype) -> float:
    """Return the machine epsilon of a floating-point type."""
    return torch.finfo(dtype).eps
