"""Asymptotic laws of D, G, R in the receptive field A_k, with their constants, and the depths at which they hold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from poolscope.theory.dilute import check_homogeneous, dilute

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = {"k": "int64", "A": "float64", "D": "float64", "G": "float64", "R": "float64", "G_relu": "float64"}
_EXACT = {"D": "D", "G": "G_rectified", "R": "R"}


def laws(filter_size: int = 3, stride: int = 1, depth: int = 12, *, dim: int = 1) -> pd.DataFrame:
    """Return the laws D ~ A^-2, G ~ A (stride 1) or D ~ A^-1, G ~ A (stride F) with constants, in any dimension d.

    The leading terms for homogeneous filters in the limit of a large image and then of many layers, the definition's
    own constants included:

    - stride 1: A = sqrt(k (F² - 1) / 12), D = 1 / (4 A²), G = (4π)^(d/2) A^d / 2π (A / √π in one dimension, 2 A² in
      two), R = D / G (√π/4 A^-3; A^-4 / 8).
    - stride F: A = F^k, D = 1 / A, G = A^d / 2π, R = 2π A^-(d+1).
    - ``G_relu``, for plain noise into the ReLU network: F^d times smaller than G, for the first filter averages the
      noise before it is rectified (erratum 11).

    A Gaussian profile has |f_k(δ)|² = (4π A²)^(-d/2), and a shift by one pixel changes that share 1 / (2 A²) of it;
    rectified noise keeps its mean, with a square of 1 / 2π of the noise's, which no filter of sum 1 reduces.

    Args:
        filter_size: F, 2 or more.
        stride: 1 or F.
        depth: number of layers.
        dim: d, 1 or more.

    Returns:
        One row a layer, with the columns k, A, D, G (rectified noise), R, G_relu.

    Raises:
        ValueError: sizes that are no network that spreads anything.

    Source: equations (5), (7), (8), (9), which leave constants open. "Our analysis carries unaltered to the
    two-dimensional case" holds for D only: G ~ A^d (erratum 26). G in (7) is affine in A, see `dilute` (erratum 10).
    """
    import pandas as pd

    check_homogeneous(filter_size, stride, depth, dim)
    k = np.arange(1, depth + 1)
    if stride == 1:
        field = np.sqrt(k * (filter_size**2 - 1) / 12)
        shift, noise = 1 / (4 * field**2), (4 * math.pi) ** (dim / 2) * field**dim / (2 * math.pi)
    else:
        field = float(filter_size) ** k
        shift, noise = 1 / field, field**dim / (2 * math.pi)
    columns = [k, field, shift, noise, shift / noise, noise / filter_size**dim]
    return pd.DataFrame(dict(zip(_COLUMNS, columns, strict=True))).astype(_COLUMNS)


def ratios_to_laws(exact: pd.DataFrame, law: pd.DataFrame) -> pd.DataFrame:
    """Return exact values divided by the laws', layer by layer.

    Args:
        exact: a table of `predict` or `dilute`, of which ``G_rectified`` is compared.
        law: of `laws`, for the same filter size, stride and dimension.

    Returns:
        A table with the columns k, D, G, R.

    Raises:
        ValueError: the tables' layers are not the same.
    """
    import pandas as pd

    if exact["k"].tolist() != law["k"].tolist():
        raise ValueError(
            f"both tables must have the same layers k; got {_ends(exact)} in exact values and {_ends(law)} in laws"
        )
    ratios = {name: exact[column].to_numpy() / law[name].to_numpy() for name, column in _EXACT.items()}
    return pd.DataFrame({"k": exact["k"].to_numpy(), **ratios})


def depths_within(ratios: pd.DataFrame, tolerance: float = 0.1) -> dict[str, list[int]]:
    """Return the layers k at which D, G and R are within ``tolerance`` of their laws, constants included.

    Args:
        ratios: of `ratios_to_laws`.
        tolerance: largest \\|ratio - 1\\|; more than 0.

    Raises:
        ValueError: a tolerance that is not positive.
    """
    _check_tolerance(tolerance)
    return {name: ratios["k"][(ratios[name] - 1).abs() <= tolerance].tolist() for name in _EXACT}


def holds_from(
    filter_size: int = 3, stride: int = 1, *, dim: int = 1, tolerance: float = 0.1, depth: int | None = None
) -> dict[str, int | None]:
    """Return the layer from which on D, G and R are within ``tolerance`` of the laws in the dilute limit.

    Args:
        filter_size, stride, dim: as for `laws`.
        tolerance: largest \\|ratio - 1\\|, constants included.
        depth: last layer looked at, which must be within too. None: 500 at stride 1, 30 at stride F, where fields
            grow exponentially.

    Returns:
        For each of "D", "G", "R" the first k of the last unbroken run, None if layer ``depth`` is not within.

    Raises:
        ValueError: as for `laws`, or a tolerance that is not positive.
    """
    _check_tolerance(tolerance)
    if depth is None:
        depth = 500 if stride == 1 else 30
    ratios = ratios_to_laws(dilute(filter_size, stride, depth, dim=dim), laws(filter_size, stride, depth, dim=dim))
    outside = {name: ratios["k"][~((ratios[name] - 1).abs() <= tolerance)] for name in _EXACT}
    last = {name: 0 if layers.empty else int(layers.max()) for name, layers in outside.items()}
    return {name: None if k == depth else k + 1 for name, k in last.items()}


def _check_tolerance(tolerance: float) -> None:
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, a share of the law's value; got {tolerance!r}")


def _ends(table: pd.DataFrame) -> str:
    return f"{table['k'].min()} .. {table['k'].max()}"
