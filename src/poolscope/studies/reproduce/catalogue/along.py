"""Numbers along a network's layers that several studies judge by: slopes against depth, and log ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from poolscope.studies.reproduce.catalogue.simple_cnns import over_seeds
from poolscope.studies.reproduce.claim import Estimate

if TYPE_CHECKING:
    import pandas as pd

_Z = 1.96


def logs(rows: pd.DataFrame, quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """Return log D, G or R of rows of ``measure`` and their standard errors over images."""
    values = rows[quantity].to_numpy(dtype=float)
    if quantity == "R":
        errors = np.log(rows["R_high"].to_numpy(dtype=float) / rows["R_low"].to_numpy(dtype=float)) / (2 * _Z)
    else:
        errors = rows[f"{quantity}_se"].to_numpy(dtype=float) / values
    return np.log(values), errors


def combined(values: np.ndarray, errors: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    """Return Σ weight · value with a 95 % interval that holds however the errors depend on each other: Σ |weight| se.

    The layers of a network are measured on the same images, so that their errors are not independent.
    """
    value, reach = float(weights @ values), _Z * float(np.abs(weights) @ errors)
    return value, value - reach, value + reach


def slope(rows: pd.DataFrame, quantity: str, *, with_input: bool = False) -> tuple[float, float, float]:
    """Return the slope of log D, G or R against depth over one network's layers.

    The published curves begin behind the first layer; ``with_input`` adds the input, at depth 0.
    """
    rows = rows[(rows["position"] > 0) | with_input].sort_values("position")
    rows = rows[rows[quantity] > 0]
    if len(rows) < 2:
        return math.nan, math.nan, math.nan
    depth = rows["depth"].to_numpy(dtype=float)
    centred = depth - depth.mean()
    return combined(*logs(rows, quantity), centred / (centred @ centred))


def slopes(table: pd.DataFrame, quantity: str, part: str = "") -> list[Estimate]:
    """Return the slope at each displacement; over seeds if there are several, else over images.

    Args:
        table: rows of ``measure`` of one network, with ``displacement`` and ``seed``.
        quantity: "D", "G" or "R".
        part: of the claim.
    """
    found = []
    for displacement, rows in table.groupby("displacement"):
        each = [slope(own, quantity) for _, own in rows.groupby("seed")]
        whole = [slope(own, quantity, with_input=True)[0] for _, own in rows.groupby("seed")]
        note = f"with the input, at depth 0, among the layers: {np.mean(whole):.2f}"
        found.append(over_networks(each, float(displacement), part, note))  # type: ignore[arg-type]
    return found


def log_ratios(one: pd.DataFrame, other: pd.DataFrame, quantity: str, part: str = "", note: str = "") -> list[Estimate]:
    """Return log(quantity of one / of the other) at the output, at each displacement.

    Args:
        one, other: rows of ``measure`` of the output, one a ``seed`` and ``displacement``; errors over images are taken
            as independent, which widens the interval where the same images move both alike.
        quantity: "D", "G" or "R".
        part: of the claim.
        note: for all.
    """
    found = []
    for displacement, rows in one.groupby("displacement"):
        partners = other[other["displacement"] == displacement].set_index("seed")
        each = []
        for seed, own in rows.groupby("seed"):
            (top,), (top_error,) = logs(own, quantity)
            (bottom,), (bottom_error,) = logs(partners.loc[[seed]], quantity)
            reach = _Z * math.hypot(top_error, bottom_error)
            each.append((top - bottom, top - bottom - reach, top - bottom + reach))
        found.append(over_networks(each, float(displacement), part, note))  # type: ignore[arg-type]
    return found


def over_networks(
    each: Sequence[tuple[float, float, float]],
    displacement: float | None = None,
    part: str = "",
    note: str = "",
    within: str = "over images",
) -> Estimate:
    """Return a number of several training seeds as one: their mean, with Student's 95 % interval over seeds.

    Args:
        each: value, low and high of each seed; of a single one its own interval is taken.
        displacement, part, note: of the estimate.
        within: what the single one's interval is over.

    Raises:
        ValueError: no seed.
    """
    if not each:
        raise ValueError("at least 1 training seed is needed for an estimate; got none")
    if len(each) == 1:
        return Estimate(*each[0], displacement, part, f"{within}, one training seed", note)
    interval = over_seeds(value for value, _, _ in each)
    return Estimate(*interval, displacement, part, f"over {len(each)} seeds", note)
