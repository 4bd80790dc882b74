"""Moments of rectified Gaussian variables, in closed form."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, owens_t

from poolscope.theory.arrays import Array


def density(x: Array) -> Array:
    """Return the standard normal density."""
    return np.asarray(np.exp(-np.square(x) / 2) / np.sqrt(2 * np.pi))


def both_below(h: Array, k: Array, correlation: Array) -> Array:
    """Return P(X < h, Y < k) for standard normal X, Y, by Owen's T function; |correlation| < 1.

    Source: D. B. Owen, Annals of Mathematical Statistics 27 (1956), equation 2.1.
    """
    root = np.sqrt((1 - correlation) * (1 + correlation))
    either = np.where(h * k > 0, 0.0, 0.5)
    either = np.where((h * k == 0) & (h + k >= 0), 0.0, either)
    wedges = _owen(h, k, correlation, root) + _owen(k, h, correlation, root)
    return np.asarray((ndtr(h) + ndtr(k)) / 2 - wedges - either)


def _owen(h: Array, k: Array, correlation: Array, root: Array) -> Array:
    rise = k - correlation * h
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = rise / (h * root)
    at_zero = np.where(k == 0, np.arctan2(1 - correlation, root), np.sign(k) * np.pi / 2) / (2 * np.pi)
    return np.asarray(np.where(h == 0, at_zero, owens_t(h, np.where(h == 0, 0.0, slope))))


def rectified_product(h: Array, k: Array, correlation: Array) -> Array:
    """Return E[max(0, h + X) max(0, k + Y)] for standard normal X, Y with this correlation, -1 < correlation <= 1."""
    h, k, correlation = (np.asarray(each, dtype=float) for each in np.broadcast_arrays(h, k, correlation))
    same = correlation > 1 - 1e-14  # X = Y up to rounding of the correlation
    inside = np.where(same, 0.0, correlation)
    root = np.sqrt((1 - inside) * (1 + inside))
    different = (
        (h * k + inside) * both_below(h, k, inside)
        + h * density(k) * ndtr((h - inside * k) / root)
        + k * density(h) * ndtr((k - inside * h) / root)
        + root * density(h) * density((k - inside * h) / root)
    )
    least = np.minimum(h, k)
    equal = (h * k + 1) * ndtr(least) + (h + k - least) * density(least)
    return np.asarray(np.where(same, equal, different))


def change_mean(h: Array) -> Array:
    """Return E[max(0, h + Z) - h], what rectified standard normal noise on a signal h adds to it on average."""
    return np.asarray(density(h) - h * ndtr(-h))


def change_product(h: Array, k: Array, correlation: Array) -> Array:
    """Return E[(max(0, h + X) - h)(max(0, k + Y) - k)], signals h and k with noise X and Y.

    Written as max(0, h + X) - h = X + max(0, -h - X), so that nothing large cancels at strong signals.
    """
    return np.asarray(rectified_product(-h, -k, correlation) + correlation * (1 - ndtr(-h) - ndtr(-k)))
