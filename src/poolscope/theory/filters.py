"""The filters of a one-channel network, layer by layer: homogeneous, or any others such as learned mean filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from poolscope.theory.arrays import Array


@dataclass(frozen=True)
class Layers:
    """One filter a layer, all with one stride.

    Attributes:
        taps: of each layer, with 1 or 2 axes. Tap t of output a is what it takes of pixel a - (F - 1) // 2 + t at
            stride 1, so that an even window reaches F/2 - 1 to the left and F/2 to the right, as in the authors' code;
            of pixel F a + t at stride F, so that windows fill task 2's patches (erratum 3).
        stride: 1 or F.
    """

    taps: tuple[Array, ...]
    stride: int

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.taps)

    def reach(self, layer: int) -> tuple[int, ...]:
        """Return how many pixels a window of layer (from 0) reaches to the left of its own, along each axis."""
        return tuple(0 if self.stride > 1 else (side - 1) // 2 for side in self.taps[layer].shape)

    @cached_property
    def dies_at(self) -> int | None:
        """First layer k (from 1) without a positive tap: ReLU leaves nothing of any input that is not negative."""
        return next((k for k, taps in enumerate(self.taps, 1) if taps.max() <= 0), None)

    @cached_property
    def linear_until(self) -> int:
        """Last layer up to which no tap is negative, so that ReLU does nothing to inputs that are not negative."""
        return next((k for k, taps in enumerate(self.taps) if taps.min() < 0), self.depth)


def layers(filter_size: int, stride: int, depth: int, filters: Sequence[Any] | np.ndarray | None, dim: int) -> Layers:
    """Return homogeneous filters of sum 1, or the given ones.

    Args:
        filter_size: F, pixels a side.
        stride: 1 or F.
        depth: number of layers.
        filters: None for homogeneous filters. One filter for each layer (numbers for ``dim=1``, rows of numbers for
            ``dim=2``), of which the first ``depth`` are used; or a single filter for all layers. ``filter_size`` is
            then not used.
        dim: 1 or 2.

    Raises:
        ValueError: sizes that are no network, filters that are empty, not finite, of another number of axes, or fewer
            than ``depth``.
    """
    for name, number in (("filter_size", filter_size), ("depth", depth)):
        if isinstance(number, bool) or number < 1:
            raise ValueError(f"{name} must be a whole number, 1 or more; got {number!r}")
    if dim not in (1, 2):
        raise ValueError(f"dim must be 1 or 2; got {dim!r}")
    if filters is None:
        if stride not in (1, filter_size):
            raise ValueError(f"stride must be 1 or the filter size {filter_size}, as in section 4; got {stride!r}")
        return Layers((np.full((filter_size,) * dim, float(filter_size) ** -dim),) * depth, stride)
    given = _arrays(filters, dim, depth)
    for k, taps in enumerate(given, 1):
        if taps.size == 0 or not np.isfinite(taps).all():
            raise ValueError(f"filters must hold finite numbers, one or more a layer; got {taps.tolist()} at layer {k}")
        if stride != 1 and set(taps.shape) != {stride}:
            raise ValueError(
                f"stride must be 1 or the size of every filter, as in section 4; got {stride!r} "
                f"and a filter of {'x'.join(map(str, taps.shape))} at layer {k}"
            )
    return Layers(given, stride)


def check_fits(network: Layers, length: int) -> None:
    """Refuse a network whose windows do not fill the ring or torus.

    Raises:
        ValueError: a filter is larger than its layer, or a stride does not divide its side.
    """
    side = length
    for k, taps in enumerate(network.taps, 1):
        if max(taps.shape) > side or side % network.stride:
            raise ValueError(
                f"every layer must be a multiple of its stride and at least as long as its filter; layer {k} has "
                f"{side} pixels a side, a filter of {max(taps.shape)} and stride {network.stride}, so depth must be "
                f"at most {k - 1} (length {length})"
            )
        side //= network.stride


def _arrays(filters: Sequence[Any] | np.ndarray, dim: int, depth: int) -> tuple[Array, ...]:
    try:
        given = [np.asarray(taps, dtype=float) for taps in filters]
    except (TypeError, ValueError) as reason:
        raise ValueError(f"filters must be arrays of numbers, one for each layer; {reason}") from None
    if given and all(taps.ndim == dim - 1 for taps in given):  # a single filter, taken apart above
        return (np.stack(given),) * depth
    if not given or any(taps.ndim != dim for taps in given):
        axes = sorted({taps.ndim for taps in given})
        raise ValueError(
            f"filters must be one filter with {dim} axes for each layer, or one for all; got {len(given)} with {axes}"
        )
    if len(given) < depth:
        raise ValueError(f"filters must hold one for each layer up to depth {depth}; got {len(given)}")
    return tuple(given[:depth])
