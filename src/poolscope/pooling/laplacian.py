"""The modes of a filter's grid, from smooth to rough: the grid Laplacian's, in levels of equal eigenvalue.

The taps of a filter are the nodes of a graph in which each is joined to its nearest neighbours along every axis, not
diagonally, with free boundaries; the Laplacian is degree minus adjacency. Along one axis of F taps its eigenvectors
are cos(π i (x + 1/2) / F), i = 0 .. F - 1 (the discrete cosine transform of type II), with eigenvalue
2 - 2 cos(π i / F). On a grid of several axes the eigenvectors are products of these, and the eigenvalues sums.

Many eigenvalues coincide (1, 3 and 4 are double for 3x3; 4 is (F - 1)-fold for FxF), and then a single eigenvector is
whatever the eigensolver returned. Only sums over all eigenvectors of one eigenvalue, a *level*, are defined.

Source: section 2 of the paper, footnote 2.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

# Sums of a few numbers below 4 are right to 1e-14. Eigenvalues that differ do so by 1e-7 or more for all kernels up
# to 64x64, 16x16x16 and 4096 taps in one dimension.
_SAME = 1e-10


@dataclass(frozen=True)
class Levels:
    """The distinct eigenvalues of a grid's Laplacian, ascending from 0.

    Attributes:
        eigenvalue: of each level.
        multiplicity: number of eigenvectors of each level; together as many as there are taps.
        level: number of the level of each product of modes, their numbers counted like taps (last axis fastest).
    """

    eigenvalue: Float64[Tensor, " levels"]
    multiplicity: Int64[Tensor, " levels"]
    level: Int64[Tensor, " taps"]


@functools.lru_cache(maxsize=64)
def grid_levels(kernel: tuple[int, ...]) -> Levels:
    """Return the levels of a grid of ``kernel`` taps along its axes: (3, 3), (7,), (3, 3, 3).

    Raises:
        ValueError: no axis, or one without taps.
    """
    if not kernel or min(kernel) < 1:
        raise ValueError(f"kernel must have one or more axes, each of at least 1 tap; got {kernel}")
    eigenvalues = torch.zeros(1, dtype=torch.float64, device="cpu")
    for taps in kernel:
        numbers = torch.arange(taps, dtype=torch.float64, device="cpu")
        along = 4 * torch.sin(math.pi / (2 * taps) * numbers).square()  # 2 - 2 cos without its cancellation near 0
        eigenvalues = (eigenvalues[:, None] + along).flatten()
    ascending, order = eigenvalues.sort()
    steps = (ascending.diff() > _SAME).cumsum(0)
    level = torch.zeros(len(order), dtype=torch.int64, device="cpu")
    level[order[1:]] = steps
    multiplicity = level.bincount()
    members = torch.zeros(len(multiplicity), dtype=torch.float64, device="cpu").index_add_(0, level, eigenvalues)
    return Levels(members / multiplicity, multiplicity, level)


@functools.lru_cache(maxsize=64)
def path_modes(taps: int) -> Float64[Tensor, "taps taps"]:
    """Return the orthonormal eigenvectors along one axis: row i is mode i, with i sign changes, on the taps."""
    numbers = torch.arange(taps, device="cpu")
    turns = numbers[:, None] * (2 * numbers + 1) % (4 * taps)  # in units of a full circle / (4 taps), exactly
    waves = torch.cos(math.pi / (2 * taps) * turns.double()) * math.sqrt(2 / taps)
    waves[0] = 1 / math.sqrt(taps)
    return waves


def level_powers(filters: Float64[Tensor, "filters ..."]) -> Float64[Tensor, "filters levels"]:
    """Return each filter's squared projection on each level: (Ψ_l · w)² summed over the level's eigenvectors.

    Along an axis after the other, so that F1 x F2 taps cost F1 + F2 multiplications each. The levels of a filter add
    up to its |w|².

    Args:
        filters: on the CPU.
    """
    kernel = tuple(filters.shape[1:])
    levels = grid_levels(kernel)
    coefficients = filters
    for taps in kernel:  # takes the first axis of the kernel away and puts its modes last: after all, they are in order
        coefficients = torch.tensordot(coefficients, path_modes(taps), ([1], [1]))
    squares = coefficients.flatten(1).square()
    powers = torch.zeros(len(filters), len(levels.multiplicity), dtype=torch.float64, device="cpu")
    return powers.index_add_(1, levels.level, squares)
