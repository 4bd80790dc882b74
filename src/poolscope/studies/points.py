"""Networks as points: their logarithms averaged over seeds, Pearson's correlation, and the bootstrap of networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

#: Networks, for a correlation to be spoken of.
FEWEST = 4
#: Bootstraps of networks.
RESAMPLES = 2000

_FLAT = 1e-9  # logarithms that differ by less are the same, but for rounding


def logarithms(networks: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the means over seeds of natural logarithms: one row a ``model``, which is the index.

    A seed in which a column is 0, below, or nan has no logarithm and is left out, and with it a network that has no
    other.

    Args:
        networks: one row a network and seed, with ``model`` and the columns.
        columns: which.
    """
    positive = networks[(networks[list(columns)] > 0).all(axis=1)]
    logs: pd.DataFrame = positive[list(columns)].astype(float).apply(np.log)
    found: pd.DataFrame = logs.groupby(positive["model"]).mean()
    return found


def pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation along the last axis; nan where one of the two does not vary."""
    flat = (np.ptp(x, axis=-1) <= _FLAT) | (np.ptp(y, axis=-1) <= _FLAT)
    dx, dy = (each - each.mean(axis=-1, keepdims=True) for each in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = (dx * dy).sum(axis=-1) / np.sqrt((dx**2).sum(axis=-1) * (dy**2).sum(axis=-1))
    return np.where(flat, math.nan, np.clip(ratio, -1, 1))


def bootstrap(
    points: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], random: np.random.Generator
) -> tuple[float, float, float]:
    """Return a statistic of networks and the 95 % percentiles of it over `RESAMPLES` bootstraps of networks.

    All columns of a network are drawn together. Resamples in which the statistic is not defined, such as those that
    hold one network alone, are left out. With few networks the interval is too narrow: of Pearson's correlation of
    normal points (true value 0.7) it held the truth in 82 % of 4000 experiments with 4 networks, 90 % with 6 and 8,
    91 % with 13, and 93 % of 2000 with 40.

    Args:
        points: ``[networks, columns]``.
        statistic: from ``[..., networks, columns]`` to ``[...]``.
        random: draws the networks; nothing is drawn where the statistic is nan.

    Returns:
        Value, low, high; all nan with fewer than `FEWEST` networks.
    """
    number = len(points)
    value = float(statistic(points)) if number >= FEWEST else math.nan
    if math.isnan(value):
        return math.nan, math.nan, math.nan
    drawn = statistic(points[random.integers(0, number, (RESAMPLES, number))])
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return value, float(low), float(high)
