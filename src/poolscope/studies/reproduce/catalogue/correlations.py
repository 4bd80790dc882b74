"""Correlations of networks' errors with their sensitivities, as numbers that claims are judged by.

The unit is the network: logarithms are averaged over its seeds first, and intervals are 95 % percentiles over
bootstraps of networks, which with as few as there are come out too narrow (see `poolscope.studies.points.bootstrap`).
Fewer than four networks give nan, which no claim can be judged by.

All tables have one row a network and seed: ``model``, ``seed``, ``error`` (share of the images), ``D``, ``G``, ``R`` of
the output. Seeds in which a number that is used is 0 or nan have no logarithm and are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import rankdata

from poolscope.report.choose import at_amplitude
from poolscope.studies.points import FEWEST, bootstrap, logarithms, pearson
from poolscope.studies.reproduce.claim import Estimate

if TYPE_CHECKING:
    import pandas as pd


def correlation(
    networks: pd.DataFrame, quantity: Literal["D", "G", "R"], displacement: float | None = None, part: str = ""
) -> Estimate:
    """Return Pearson's correlation of log error with the log of a quantity, over networks.

    Args:
        networks: as above.
        quantity: which.
        displacement: rows of which, in pixels, if the table has such a column; what the estimate is of.
        part: of the claim.

    Raises:
        ValueError: several displacements and none chosen, or one that is not there.
    """
    points = logarithms(_chosen(networks, displacement), ["error", quantity])
    return _estimate(points, lambda each: pearson(each[..., 0], each[..., 1]), displacement, part)


def strongest(networks: pd.DataFrame, displacement: float | None = None, part: str = "") -> Estimate:
    """Return the correlation of log error with log R less the larger size of those with log D and with log G.

    All three are bootstrapped together, so that what they have in common cancels. Arguments and errors as for
    `correlation`.
    """

    def margin(points: np.ndarray) -> np.ndarray:
        with_D, with_G, with_R = (pearson(points[..., 0], points[..., column]) for column in (1, 2, 3))
        return np.asarray(with_R - np.maximum(np.abs(with_D), np.abs(with_G)))

    points = logarithms(_chosen(networks, displacement), ["error", "D", "G", "R"])
    return _estimate(points, margin, displacement, part)


def learned(
    trained: pd.DataFrame, initial: pd.DataFrame, displacement: float | None = None, part: str = ""
) -> Estimate:
    """Return the correlation of log error with log R of the trained networks, less that with log R of the initial ones.

    The error is the trained networks' both times.

    Args:
        trained: as above.
        initial: the same networks before training: ``model``, ``seed``, ``R``.
        displacement, part: as for `correlation`.

    Raises:
        ValueError: as for `correlation`.
    """
    after = logarithms(_chosen(trained, displacement), ["error", "R"])
    before = logarithms(_chosen(initial, displacement), ["R"])
    points = after.join(before.add_suffix("_before"), how="inner")

    def difference(each: np.ndarray) -> np.ndarray:
        return np.asarray(pearson(each[..., 0], each[..., 1]) - pearson(each[..., 0], each[..., 2]))

    return _estimate(points, difference, displacement, part)


def rank_correlation(one: pd.DataFrame, other: pd.DataFrame, part: str = "") -> Estimate:
    """Return Spearman's correlation of the errors of the same networks, means over their seeds, in two tables.

    Ranks are taken anew in each resample; equal errors share their mean rank, those of 0 too, which has a rank though
    it has no logarithm.

    Args:
        one, other: ``model``, ``seed``, ``error``; networks that are in both count. Where a table has several rows for
            a network and seed, one for each displacement, the error is the same in all.
        part: of the claim.
    """
    first, second = (each.dropna(subset="error").groupby("model")[["error"]].mean() for each in (one, other))
    points = first.join(second.add_suffix("_other"), how="inner")

    def by_rank(each: np.ndarray) -> np.ndarray:
        ranks: np.ndarray = rankdata(each, axis=-2)
        return pearson(ranks[..., 0], ranks[..., 1])

    return _estimate(points, by_rank, None, part)


def _chosen(networks: pd.DataFrame, displacement: float | None) -> pd.DataFrame:
    return at_amplitude(networks, displacement=displacement) if "displacement" in networks else networks


def _estimate(
    points: pd.DataFrame, statistic: Callable[[np.ndarray], np.ndarray], displacement: float | None, part: str
) -> Estimate:
    value, low, high = bootstrap(points.to_numpy(), statistic, np.random.default_rng(0))
    names = ", ".join(map(str, points.index)) or "none"
    note = f"networks: {names}" if len(points) >= FEWEST else f"fewer than {FEWEST} networks: {names}"
    return Estimate(value, low, high, displacement, part, f"bootstrap of {len(points)} networks", note)
