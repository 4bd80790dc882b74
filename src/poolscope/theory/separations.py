"""Where the two active pixels of a scale-detection input are: all that exact averages over a task need of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from scipy import signal

from poolscope.theory.arrays import Array

Boundary = Literal["periodic", "open"]
Norm = Literal["euclidean", "max"]


@dataclass(frozen=True)
class Separations:
    """The distribution of pairs of distinct pixels that are uniform over those a task allows.

    Attributes:
        probability: of the vector from one active pixel to the other, wrapped around the ring or torus; even, sum 1.
        occupancy: mean number of active pixels at each pixel; sum 2.
        is_stationary: whether shifting an allowed pair around the ring or torus gives an allowed pair.
    """

    probability: Array
    occupancy: Array
    is_stationary: bool

    @cached_property
    def characteristic(self) -> Array:
        """⟨cos(q · separation)⟩ on the frequencies q of the ring or torus."""
        return np.asarray(np.fft.fftn(self.probability).real)

    @cached_property
    def variance(self) -> Array:
        """Variance of the Fourier modes of the sum of the two pixels' indicators: E|δ̂_i + δ̂_j|² - |E ...|², >= 0."""
        mean = np.square(np.abs(np.fft.fftn(self.occupancy)))
        variance = np.maximum(2 + 2 * self.characteristic - mean, 0)
        variance[(0,) * variance.ndim] = 0  # every input has two active pixels
        return np.asarray(variance)


def separations(
    task: int, length: int, scale: int, gap: float | int, *, dim: int, boundary: Boundary | None, norm: Norm
) -> Separations:
    """Return the separations of all pairs that a task allows.

    Task 1 leaves out distances d with ξ - g/2 <= d <= ξ + g/2 (the text's "in", which must read "not in": erratum 4).
    Task 2 allows every pair.

    Raises:
        ValueError: an argument that makes no task of two classes.
    """
    _check(task, length, scale, gap, dim, boundary, norm)
    shape = (length,) * dim
    if task == 2:
        probability = np.ones(shape)
        probability[(0,) * dim] = 0
        return Separations(probability / probability.sum(), np.full(shape, 2 / length**dim), True)
    if boundary == "periodic" or (boundary is None and dim == 1):
        apart = np.minimum(np.arange(length), length - np.arange(length))
        allowed = _allowed(apart, dim, norm, scale, gap)
        return Separations(allowed / allowed.sum(), np.full(shape, 2 / length**dim), True)
    offsets = np.arange(1 - length, length)
    allowed = _allowed(np.abs(offsets), dim, norm, scale, gap)
    # The pairs with this separation, and the allowed partners of each pixel, in whole numbers.
    pairs = allowed * _outer(length - np.abs(offsets), dim)
    partners = np.rint(signal.fftconvolve(allowed.astype(float), np.ones(shape), mode="valid"))
    probability = np.zeros(shape)
    np.add.at(probability, tuple(np.meshgrid(*[offsets % length] * dim, indexing="ij")), pairs)
    return Separations(probability / probability.sum(), 2 * partners / partners.sum(), False)


def _allowed(apart: np.ndarray, dim: int, norm: Norm, scale: int, gap: float | int) -> np.ndarray:
    axes = np.meshgrid(*[apart.astype(float)] * dim, indexing="ij")
    distance = np.max(axes, axis=0) if norm == "max" else np.sqrt(np.square(axes).sum(axis=0))
    near, far = distance < scale - gap / 2, distance > scale + gap / 2
    near &= distance > 0
    if not near.any() or not far.any():
        raise ValueError(
            f"both classes must occur; scale {scale} and gap {gap:g} leave {'no far' if near.any() else 'no near'} "
            f"pairs at distances up to {distance.max():.4g}"
        )
    return np.asarray(near | far)


def _outer(along: np.ndarray, dim: int) -> np.ndarray:
    return np.asarray(np.prod(np.meshgrid(*[along] * dim, indexing="ij"), axis=0))


def _check(task: int, length: int, scale: int, gap: float | int, dim: int, boundary: str | None, norm: str) -> None:
    for name, value, choices in (
        ("task", task, (1, 2)),
        ("dim", dim, (1, 2)),
        ("boundary", boundary, (None, *get_args(Boundary))),
        ("norm", norm, get_args(Norm)),
    ):
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}; got {value!r}")
    for name, number, least in (("length", length, 3), ("scale", scale, 1)):
        if isinstance(number, bool) or number < least:
            raise ValueError(f"{name} must be a whole number of pixels, {least} or more; got {number!r}")
    if not 0 <= gap < np.inf:
        raise ValueError(f"gap must be a finite number of pixels, not negative; got {gap!r}")
    if task == 2 and (gap or boundary is not None or norm != "euclidean"):
        raise ValueError(
            "task 2 goes by patches, not by distances, so gap, boundary and norm are of task 1 only; "
            f"got gap={gap:g}, boundary={boundary}, norm={norm}"
        )
    if task == 2 and not 2 - (dim == 2) <= scale < length:
        raise ValueError(
            f"both classes must occur; patches of scale {scale} in length {length} hold no pair, or all of them"
        )
    if dim == 1 and norm != "euclidean":
        raise ValueError(f"norm is a choice of two dimensions; got {norm!r} in one")
