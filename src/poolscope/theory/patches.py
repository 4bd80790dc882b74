"""Averages over pairs of inputs of the initial kernel at stride F, by what one patch of the image holds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int64

from poolscope.theory.kernel import arc_cosine

_AT_ONCE = 2**22  # kernel values in memory together: 32 MiB


def mean_kernels(
    pairs: Int64[np.ndarray, "inputs 2"], *, size: int, depth: int, bias_variance: float, value: float
) -> Iterator[float]:
    """Yield E[q_k(x1, x2)] at one output for k = 1 .. depth, over independent uniform inputs x1, x2.

    An output sees one patch of F^k pixels, which holds none, one or both of the active pixels: some thousands of
    contents, instead of the square of the number of inputs. All outputs see the same distribution, for shifting an
    allowed pair by a patch gives an allowed pair.

    Args:
        pairs: of distinct active pixels, all that are allowed, on a ring whose length is a multiple of F^depth.
        size: F.
        value: of an active pixel.
    """
    contents = _contents(1)
    amount = (contents > 0).sum(1) * value
    kernel = np.outer(amount, amount)
    for k in range(1, depth + 1):
        side = size**k
        larger = _contents(side)
        parts = _parts(larger, contents, side // size, size)
        weight = np.bincount(_number(_seen(pairs, side), side), minlength=len(larger)) / len(pairs)
        variance = bias_variance + np.mean([kernel.diagonal()[part] for part in parts], axis=0)
        kept = np.empty((len(larger), len(larger))) if k < depth else None
        total = 0.0
        rows = max(1, _AT_ONCE // len(larger))
        for start in range(0, len(larger), rows):
            some = slice(start, start + rows)
            below = sum(kernel[part[some]][:, part] for part in parts) / size
            values = size * arc_cosine(bias_variance + below, variance[some, None], variance[None])
            total += float(weight[some] @ values @ weight)
            if kept is not None:
                kept[some] = values
        yield total
        if kept is not None:
            kernel, contents = kept, larger


def _contents(side: int) -> Int64[np.ndarray, "contents 2"]:
    """Return what a patch can hold: places from 1, the larger first, 0 for no pixel. In the order of `_number`."""
    larger, smaller = np.tril_indices(side + 1)
    return np.stack([larger, smaller], axis=1)


def _number(contents: Int64[np.ndarray, "contents 2"], side: int) -> Int64[np.ndarray, " contents"]:
    return np.asarray(contents[:, 0] * (contents[:, 0] + 1) // 2 + contents[:, 1])


def _seen(pairs: Int64[np.ndarray, "inputs 2"], side: int) -> Int64[np.ndarray, "inputs 2"]:
    """Return what the first patch holds of each input."""
    return -np.sort(-np.where(pairs < side, pairs + 1, 0), axis=1)


def _parts(larger: np.ndarray, contents: np.ndarray, side: int, size: int) -> list[Int64[np.ndarray, " contents"]]:
    """Return, for each of a patch's parts, the numbers of the contents that each content of the patch has there."""
    found = []
    for part in range(size):
        places = larger - part * side
        there = np.where((places >= 1) & (places <= side), places, 0)
        found.append(_number(-np.sort(-there, axis=1), side))
    return found
