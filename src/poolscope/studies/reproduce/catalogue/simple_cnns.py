"""Numbers about simple CNNs that several studies judge by: means over seeds, differences of groups, layer by layer.

Tables of values have one row a seed and layer: ``seed``, ``k``, ``value``. Intervals are 95 %, over seeds, which are
independent networks; groups of networks are compared by Welch's interval. Seeds of equal number start from the same
weights where the networks are of one size: what that makes them have in common would make Welch's intervals too wide,
not too narrow. Where there are fewer than two seeds there is no interval, and where a layer has no number there is no
value: both are nan, which no claim can be judged by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import t

from poolscope.studies.reproduce.claim import Estimate

if TYPE_CHECKING:
    import pandas as pd

Values = Iterable[float]


def kept(sensitivity: pd.DataFrame, variant: str, noise: str = "rectified") -> pd.DataFrame:
    """Return the rows of one variant under one kind of noise."""
    return sensitivity[(sensitivity["variant"] == variant) & (sensitivity["noise"] == noise)]


def row_where(table: pd.DataFrame, **values: object) -> pd.Series:
    """Return the first row in which columns have these values.

    Raises:
        ValueError: there is none.
    """
    rows = table
    for column, value in values.items():
        rows = rows[rows[column] == value]
    if rows.empty:
        raise ValueError(f"the table must have a row with {values}; it has none")
    return rows.iloc[0]


def logarithms(rows: pd.DataFrame, quantity: str, layers: int) -> pd.DataFrame:
    """Return values log(quantity) of the first layers.

    Args:
        rows: one row a seed and layer.
        quantity: "D", "G" or "R".
        layers: 1 .. this.
    """
    rows = rows[rows["k"] <= layers]
    found: pd.DataFrame = rows[["seed", "k"]].assign(value=np.log(rows[quantity].where(rows[quantity] > 0)))
    return found


def distances(rows: pd.DataFrame, reference: pd.DataFrame, quantity: str, layers: int) -> pd.DataFrame:
    """Return values log(quantity / reference) of the first layers.

    Args:
        rows: one row a seed and layer.
        reference: the same networks' rows, or one row a layer, such as theory's.
        quantity: "D", "G" or "R".
        layers: 1 .. this.
    """
    found = logarithms(rows, quantity, layers)
    keys = ["seed", "k"] if "seed" in reference else ["k"]
    other = reference.set_index(keys)[quantity]
    other = other.where(other > 0)
    at = list(zip(*(found[key] for key in keys), strict=True)) if len(keys) > 1 else found["k"]
    return found.assign(value=found["value"].to_numpy() - np.log(other.loc[at].to_numpy()))


def over_seeds(values: Values) -> tuple[float, float, float]:
    """Return mean and 95 % interval of Student's t; the interval is nan where there are fewer than two seeds."""
    mean, error, count = _moments(values)
    reach = float(t.ppf(0.975, count - 1)) * error if count > 1 else math.nan
    return mean, mean - reach, mean + reach


def welch(one: Values, other: Values) -> tuple[float, float, float]:
    """Return the difference of the means of two groups of networks, one less other, with Welch's 95 % interval.

    Both groups' scatter over seeds counts; nan where either has fewer than two seeds.
    """
    (mean, error, count), (mean_other, error_other, count_other) = _moments(one), _moments(other)
    difference = mean - mean_other
    reach = _welch_t((error, count), (error_other, count_other)) * math.hypot(error, error_other)
    return difference, difference - reach, difference + reach


def ratio(one: Values, other: Values) -> tuple[float, float, float]:
    """Return the ratio of the means of two groups of networks, one over other, with Fieller's 95 % interval.

    The ratios ρ at which mean - ρ mean_other is within its Welch interval of 0. The interval is nan where either group
    has fewer than two seeds, or the denominator is not told from 0.
    """
    (mean, error, count), (below, error_below, count_below) = _moments(one), _moments(other)
    if below == 0:
        return math.nan, math.nan, math.nan
    value = mean / below
    factor = _welch_t((error, count), (abs(value) * error_below, count_below)) ** 2
    curvature = below**2 - factor * error_below**2
    if not curvature > 0:
        return value, math.nan, math.nan
    rest = (mean * below) ** 2 - curvature * (mean**2 - factor * error**2)
    reach = math.sqrt(max(0.0, rest)) / curvature
    middle = mean * below / curvature
    return value, middle - reach, middle + reach


def largest(values: pd.DataFrame, part: str = "") -> Estimate:
    """Return the largest size of a value over layers: of its mean over seeds, with the interval at that layer.

    Where that interval holds 0 its lower end is 0: a size is not negative. The layer is chosen by the same seeds that
    the interval is of, so that the size comes out too large rather than too small: with seven layers of one true size
    that scatter independently, and four seeds, the interval lies above that size in 12 % of cases (19 % if the size is
    0) and never below it; layers of one network scatter together, which makes it less. A claim that a size is small is
    thus refuted too easily, not confirmed too easily.

    Args:
        values: as above, such as of `distances`.
        part: of the claim.
    """
    found = [(k, *over_seeds(each)) for k, each in _by_layer(values).items()]
    return _largest(found, part, f"over {values['seed'].nunique()} seeds")


def largest_between(one: pd.DataFrame, other: pd.DataFrame, part: str = "") -> Estimate:
    """Return the largest size over layers of the difference of two groups' means, one less other.

    Welch's interval at that layer; chosen and folded as in `largest`.

    Args:
        one, other: values of two groups of networks, such as of `logarithms`.
        part: of the claim.
    """
    groups = _by_layer(other)
    found = [(k, *welch(each, groups[k])) for k, each in _by_layer(one).items() if k in groups]
    return _largest(found, part, _both(one, other))


def extreme(values: pd.DataFrame, which: Literal["least", "largest"], part: str = "") -> Estimate:
    """Return the least or largest mean over seeds of all layers, with the interval at that layer.

    As in `largest`, choosing the layer makes it come out too extreme rather than not extreme enough.
    """
    found = [(k, *over_seeds(each)) for k, each in _by_layer(values).items()]
    missing = next((k for k, mean, _, _ in found if math.isnan(mean)), None)
    if not found or missing is not None:
        return _unknown(missing, part)
    sign = 1 if which == "largest" else -1
    k, mean, low, high = max(found, key=lambda each: sign * each[1])
    layers = f"{which} of layers {found[0][0]} to {found[-1][0]}"
    return Estimate(mean, low, high, None, part, f"over {values['seed'].nunique()} seeds", f"layer {k}, {layers}")


def by_network(values: pd.DataFrame, statistic: Callable[[pd.Series], float]) -> np.ndarray:
    """Return one number a seed: a statistic of its values, which are indexed by layer."""
    return np.array([statistic(rows.set_index("k")["value"]) for _, rows in values.groupby("seed")], dtype=float)


def of_groups(one: np.ndarray, other: np.ndarray, part: str = "", note: str = "") -> Estimate:
    """Return the difference of the means of two groups' numbers, one a network, with Welch's interval."""
    words = f"Welch, over {len(one)} and {len(other)} seeds"
    return Estimate(*welch(one, other), None, part, words, note)


def of_seeds(numbers: Values, part: str = "", note: str = "") -> Estimate:
    """Return the mean of numbers, one a network, with Student's interval."""
    array = np.asarray(list(numbers), dtype=float)
    return Estimate(*over_seeds(array), None, part, f"over {len(array)} seeds", note)


def slope_over_seeds(row: pd.Series, part: str = "", *, beside_theory: bool = True) -> Estimate:
    """Return a fitted slope, a row of `poolscope.studies.scale_detection.slopes`, with its interval over seeds.

    Below three seeds it has none.

    Args:
        row: of the table of slopes.
        part: of the claim.
        beside_theory: whether the note has the exact finite-size theory's slope, which is that of trained networks.
    """
    seeds = int(row["seeds"])
    low, high = (float(row["low"]), float(row["high"])) if seeds > 2 else (math.nan, math.nan)
    note = f"layers {row['layers']}" + (f"; exact theory: {row['exact']:.2f}" if beside_theory else "")
    return Estimate(float(row["slope"]), low, high, None, part, f"over {seeds} seeds", note)


def _by_layer(values: pd.DataFrame) -> dict[int, pd.Series]:
    return {int(rows["k"].iloc[0]): rows["value"] for _, rows in values.groupby("k")}


def _moments(values: Values) -> tuple[float, float, int]:
    """Return mean, its standard error (0 for a single value) and number of values."""
    array = np.asarray(list(values), dtype=float)
    error = float(array.std(ddof=1)) / len(array) ** 0.5 if len(array) > 1 else 0.0
    return float(array.mean()) if len(array) else math.nan, error, len(array)


def _welch_t(one: tuple[float, int], other: tuple[float, int]) -> float:
    """Return Student's t for two groups' standard errors and numbers, with Welch's degrees of freedom."""
    if min(one[1], other[1]) < 2:
        return math.nan
    squares = [error**2 for error, _ in (one, other)]
    if sum(squares) == 0:
        return 0.0  # nothing scatters
    freedom = sum(squares) ** 2 / sum(
        square**2 / (count - 1) for square, (_, count) in zip(squares, (one, other), strict=True)
    )
    return float(t.ppf(0.975, freedom))


def _both(one: pd.DataFrame, other: pd.DataFrame) -> str:
    return f"Welch, over {one['seed'].nunique()} and {other['seed'].nunique()} seeds"


def _largest(found: list[tuple[int, float, float, float]], part: str, interval: str) -> Estimate:
    missing = next((k for k, mean, _, _ in found if math.isnan(mean)), None)
    if not found or missing is not None:
        return _unknown(missing, part)
    k, mean, low, high = max(found, key=lambda each: abs(each[1]))
    ends = sorted((abs(low), abs(high)))
    if low <= 0 <= high:
        ends[0] = 0.0
    return Estimate(abs(mean), ends[0], ends[1], None, part, interval, f"layer {k}, of the largest mean: {mean:.3f}")


def _unknown(layer: int | None, part: str) -> Estimate:
    note = "no layers" if layer is None else f"layer {layer} has no number"
    return Estimate(math.nan, math.nan, math.nan, None, part, "", note)
