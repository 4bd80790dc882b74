"""Exact values in the limit of a large image, in which the two active pixels are far apart and noise has no edge."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from poolscope.theory.rectified import rectified_product

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = {
    "k": "int64", "A": "float64", "D": "float64", "G_rectified": "float64", "G_relu": "float64",
    "G_linear": "float64", "R": "float64",
}  # fmt: skip

_FLOOR = 1 / 2 - 1 / (2 * math.pi)  # variance of max(0, Z); 1 / 2π is its mean squared


def dilute(filter_size: int = 3, stride: int = 1, depth: int = 12, *, dim: int = 1) -> pd.DataFrame:
    """Return D, G, R of homogeneous filters for L -> ∞ at fixed depth, exactly, in d dimensions.

    Moves by one pixel along an axis ("left-right"). With K_r the overlap of two responses r pixels apart along an axis
    (2k steps of the uniform walk end at r; K_0^d that of one with itself): at stride 1

        D = 1 - K_1 / K_0,   G = 1 / (2π K_0^d) + 1/2 - 1/(2π) -> (4π)^(d/2) A^d / 2π + 0.341,   G_linear = 1,

    and at stride F with n = F^k: D = 1/n, G = n^d / 2π + 0.341. G_relu has the noise averaged by the first filter
    before it is rectified.

    Args:
        filter_size: F, 2 or more.
        stride: 1 or F.
        depth: number of layers.
        dim: d, 1 or more.

    Returns:
        One row a layer, with the columns k, A, D, G_rectified, G_relu, G_linear, R, as `predict` has them. R has no
        denominator E|f(x1) - f(x2)|², and is the first to be seen on rings of finite size.

    Raises:
        ValueError: sizes that are no network that spreads anything.

    Source: definition (1) and section 4; errata 8 to 11 and 26 say how equations (4) to (9) differ from this.
    """
    import pandas as pd

    check_homogeneous(filter_size, stride, depth, dim)
    k = np.arange(1, depth + 1)
    if stride > 1:
        field = float(filter_size) ** k
        shift, rectified = 1 / field, _FLOOR + field**dim / (2 * math.pi)
        plain = _FLOOR + (field / filter_size) ** dim / (2 * math.pi)
    else:
        field = np.sqrt(k * (filter_size**2 - 1) / 12)
        overlaps = _overlaps(filter_size, depth)
        kept = overlaps[1:, 0] ** dim
        shift, rectified = 1 - overlaps[1:, 1] / overlaps[1:, 0], _FLOOR + 1 / (2 * math.pi * kept)
        plain = _plain_noise(filter_size, dim, overlaps[:-1]) / (filter_size**dim * kept)
    columns = [k, field, shift, rectified, plain, np.ones(depth), shift / rectified]
    return pd.DataFrame(dict(zip(_COLUMNS, columns, strict=True))).astype(_COLUMNS)


def check_homogeneous(filter_size: int, stride: int, depth: int, dim: int) -> None:
    """Refuse sizes that are no network of homogeneous filters that merge or spread pixels.

    Raises:
        ValueError: a number below its least, or a stride other than 1 and F.
    """
    for name, number, least in (("filter_size", filter_size, 2), ("depth", depth, 1), ("dim", dim, 1)):
        if isinstance(number, bool) or number < least:
            raise ValueError(f"{name} must be a whole number, {least} or more; got {number!r}")
    if stride not in (1, filter_size):
        raise ValueError(f"stride must be 1 or the filter size {filter_size}, as in section 4; got {stride!r}")


def _overlaps(filter_size: int, depth: int) -> Float64[np.ndarray, "layers distances"]:
    """Return K_r, r = 0 .. F, for k = 0 .. depth: the walk of 2k steps at r."""
    response, found = np.ones(1), []
    for _ in range(depth + 1):
        padded = np.pad(response, (0, filter_size))
        found.append([response @ padded[r : r + len(response)] for r in range(filter_size + 1)])
        response = np.convolve(response, np.full(filter_size, 1 / filter_size))
    return np.array(found)


def _plain_noise(
    filter_size: int, dim: int, later: Float64[np.ndarray, "layers distances"]
) -> Float64[np.ndarray, " layers"]:
    """Return what noise of variance 1 behind the first filter, then rectified, is after the layers that follow.

    Two outputs of the first filter r apart share (F - |r|) / F of its taps along each axis.
    """
    distances = np.abs(np.arange(1 - filter_size, filter_size))
    grid = np.stack(np.meshgrid(*[distances] * dim, indexing="ij")).reshape(dim, -1)
    zero = np.zeros(1)
    excess = rectified_product(zero, zero, np.prod(1 - grid / filter_size, axis=0)) - 1 / (2 * math.pi)
    return np.asarray(1 / (2 * math.pi) + np.prod(later[:, grid], axis=1) @ excess)
