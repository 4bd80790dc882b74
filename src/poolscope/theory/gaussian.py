"""Proposition 1: the Gaussian that M^k δ tends to, with the constants as printed and with the true ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from poolscope.theory.arrays import Array
from poolscope.theory.dilute import check_homogeneous

if TYPE_CHECKING:
    import pandas as pd

Constants = Literal["true", "printed"]


def gaussian_profile(offsets: Array, k: int, filter_size: int = 3, constants: Constants = "true") -> Array:
    """Return the Gaussian of proposition 1 at a - i, the density that (M^k δ_i)_a tends to at stride 1.

    - "true": variance k (F² - 1) / 12, for odd and even F; mean 0 for odd F, -k/2 for even F with windows that reach
      F/2 - 1 to the left and F/2 to the right (the authors' code and `propagate`).
    - "printed": (A.2) for odd F, variance 2 D k with 2 D = (F - 1)³ / (6F): too small by 2/3 at F = 3 (erratum 1).
      (A.3) for even F, literally: 2 D = (F³ - 3F² + 6F - 4) / (6F), mean +k (F - 1) / (2F), for windows the other way
      round; and a stray F in the exponent only, so that it integrates to √F (erratum 2).

    Args:
        offsets: a - i, in pixels.
        k: number of layers, 1 or more.
        filter_size: F, 2 or more.
        constants: see above.

    Raises:
        ValueError: a number below its least, or constants that there are not.

    Source: proposition 1, (A.2) and (A.3). Two slips make up the difference of variances: (A.7) lacks the 1/2 of
    ⟨x²⟩/2, and integrates W = 1/F over a length F - 1.
    """
    check_homogeneous(filter_size, 1, k, 1)
    if constants not in get_args(Constants):
        raise ValueError(f"constants must be one of {', '.join(get_args(Constants))}; got {constants!r}")
    diffusion, drift, stray = _constants(filter_size, constants)
    exponent = -np.square(offsets - drift * k) / (4 * diffusion * stray * k)
    return np.asarray(np.exp(exponent) / (2 * math.sqrt(math.pi * diffusion * k)))


def proposition_1(filter_size: int = 3, depth: int = 12) -> pd.DataFrame:
    """Compare M^k δ on an infinite line with the Gaussian of proposition 1, as printed and with the true constants.

    The condition L >> F √K of the proposition is met by the line; on a ring `predict`'s ``A_ring`` shows it. F √K is
    not the width: that is 0.289 F √K at large F (erratum 9).

    Args:
        filter_size: F, 2 or more.
        depth: number of layers.

    Returns:
        One row a layer, with the columns ``k``; ``mean``, ``variance``: of M^k δ; ``mean_printed``,
        ``variance_printed``: D and v of (A.2), (A.3), the stray F left out; ``mass_printed``: sum of the printed
        density over the pixels; ``distance_true``, ``distance_printed``: total variation distance 1/2 Σ \\|M^k δ -
        Gaussian\\|, the printed one of even F against windows as in (A.5). 0.105 and 0.0074 at F = 3, k = 12.

    Raises:
        ValueError: a number below its least.

    Source: proposition 1, errata 1 and 2.
    """
    import pandas as pd

    check_homogeneous(filter_size, 1, depth, 1)
    rows = []
    response = np.ones(1)
    for k in range(1, depth + 1):
        response = np.convolve(response, np.full(filter_size, 1 / filter_size))
        first = -(filter_size // 2) * k  # an output a sees pixel i through tap i - a + (F - 1) // 2
        margin = 12 * math.ceil(math.sqrt(k * filter_size**2))  # beyond it, no Gaussian here has anything left
        offsets = np.arange(first - margin, first + len(response) + margin, dtype=float)
        exact = np.pad(response, margin)
        mean = float(exact @ offsets)
        diffusion, drift, _ = _constants(filter_size, "printed")
        printed = gaussian_profile(offsets, k, filter_size, "printed")
        # (A.5) has its windows the other way round: the mirror image.
        printed_of_ours = gaussian_profile(-offsets, k, filter_size, "printed")
        rows.append(
            {
                "k": k,
                "mean": mean,
                "variance": float(exact @ np.square(offsets - mean)),
                "mean_printed": drift * k,
                "variance_printed": 2 * diffusion * k,
                "mass_printed": float(printed.sum()),
                "distance_true": _distance(exact, gaussian_profile(offsets, k, filter_size)),
                "distance_printed": _distance(exact, printed_of_ours),
            }
        )
    return pd.DataFrame(rows)


def _constants(filter_size: int, constants: Constants) -> tuple[float, float, int]:
    """Return D, the mean's shift a layer, and the factor on D in the exponent alone."""
    size, odd = filter_size, filter_size % 2 == 1
    if constants == "true":
        return (size**2 - 1) / 24, 0.0 if odd else -0.5, 1
    if odd:
        return (size - 1) ** 3 / (12 * size), 0.0, 1
    return (size**3 - 3 * size**2 + 6 * size - 4) / (12 * size), (size - 1) / (2 * size), size


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).sum() / 2)
