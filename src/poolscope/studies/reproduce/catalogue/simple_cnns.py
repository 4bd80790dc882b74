"""Numbers about simple CNNs that several studies judge by: log ratios of layers' sensitivities, over seeds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import t

from poolscope.studies.reproduce.claim import Estimate

if TYPE_CHECKING:
    import pandas as pd


def kept(sensitivity: pd.DataFrame, variant: str, noise: str = "rectified") -> pd.DataFrame:
    """Return the rows of one variant under one kind of noise."""
    return sensitivity[(sensitivity["variant"] == variant) & (sensitivity["noise"] == noise)]


def distances(
    rows: pd.DataFrame, reference: pd.DataFrame, quantity: str, layers: int, *, paired: bool = True
) -> pd.DataFrame:
    """Return log(quantity / reference) of the first layers: ``seed``, ``k``, ``log_ratio``.

    Args:
        rows: one row a seed and layer.
        reference: the same, or one row a layer.
        quantity: "D", "G" or "R".
        layers: 1 .. this.
        paired: whether seeds of both are the same networks; else the reference's geometric mean over seeds is taken.
    """
    rows = rows[rows["k"] <= layers]
    if paired and "seed" in reference:
        other = reference.set_index(["seed", "k"])[quantity]
        values = other.loc[list(zip(rows["seed"], rows["k"], strict=True))].to_numpy()
    else:
        mean = reference.assign(log=np.log(reference[quantity])).groupby("k")["log"].mean()
        values = np.exp(mean.loc[rows["k"]].to_numpy())
    found: pd.DataFrame = rows[["seed", "k"]].assign(log_ratio=np.log(rows[quantity].to_numpy() / values))
    return found


def over_seeds(values: pd.Series | np.ndarray) -> tuple[float, float, float]:
    """Return mean and 95 % interval of Student's t; nan where there are fewer than two seeds."""
    array = np.asarray(values, dtype=float)
    mean = float(array.mean())
    if len(array) < 2:
        return mean, math.nan, math.nan
    reach = float(t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / len(array) ** 0.5)
    return mean, mean - reach, mean + reach


def largest(log_ratios: pd.DataFrame, part: str = "") -> Estimate:
    """Return the largest size of a log ratio over layers, of its mean over seeds, with the interval at that layer.

    Where the interval at that layer holds 0, its lower end is 0: a size is not negative.
    """
    best: tuple[float, float, float, int] | None = None
    for k, group in log_ratios.groupby("k"):
        mean, low, high = over_seeds(group["log_ratio"])
        if best is None or abs(mean) > abs(best[0]):
            best = (mean, low, high, int(k))
    assert best is not None
    mean, low, high, k = best
    ends = sorted((abs(low), abs(high)))
    if low <= 0 <= high:
        ends[0] = 0.0
    seeds = log_ratios["seed"].nunique()
    return Estimate(abs(mean), ends[0], ends[1], None, part, f"over {seeds} seeds", f"layer {k}: log ratio {mean:.3f}")
