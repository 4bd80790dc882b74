"""One active pixel on its way through the network: M^k δ on the ring or torus, and the width of what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from poolscope.theory.arrays import Array
from poolscope.theory.filters import Layers, check_fits, layers


def propagate(
    length: int = 32,
    filter_size: int = 3,
    stride: int = 1,
    depth: int = 12,
    *,
    filters: Sequence[Any] | np.ndarray | None = None,
    dim: int = 1,
    pixel: int | Sequence[int] | None = None,
) -> list[Array]:
    """Return f_k(δ_i) = M^k δ_i for k = 1 .. depth, what one active pixel becomes in a network of one channel.

    Circular padding, ReLU after every layer (which does nothing unless a filter has negative taps), no bias. Windows
    of stride 1 are centred on their output; even ones reach F/2 - 1 pixels to the left and F/2 to the right, as in the
    authors' code, so that the response moves by -1/2 pixel a layer (appendix A says the opposite; errata 2 and 3).
    Windows of stride F start at F b, so that they fill the patches of task 2.

    Args:
        length: L, pixels a side.
        filter_size: F of homogeneous filters, every tap F^-dim; without use where ``filters`` are given.
        stride: 1 or F.
        depth: number of layers.
        filters: one filter for each layer, or one for all; ``dim`` axes each.
        dim: 1 (ring) or 2 (torus).
        pixel: i, the active one: a number for each axis. None: the first.

    Returns:
        One array a layer: ``dim`` axes of ``length`` at stride 1, ``length / F^k`` at stride F.

    Raises:
        ValueError: sizes that do not fit, or a pixel outside the image.

    Source: section 4, figure 6, appendix A. (A.1) lacks the 1/F of every entry.
    """
    network = layers(filter_size, stride, depth, filters, dim)
    check_fits(network, length)
    if pixel is None:
        pixel = (0,) * dim
    place = (pixel,) if isinstance(pixel, int) else tuple(pixel)
    if len(place) != dim or not all(0 <= each < length for each in place):
        raise ValueError(f"pixel must be {dim} whole number(s) in 0 .. length - 1 = {length - 1}; got {pixel!r}")
    image = np.zeros((length,) * dim)
    image[place] = 1
    return list(responses(network, image))


def responses(network: Layers, images: Array) -> Iterator[Array]:
    """Yield the representations of images at layers 1, 2, ...: circular convolution, then ReLU.

    Args:
        images: space on the last axes.
    """
    for number, taps in enumerate(network.taps):
        images = np.maximum(_convolve(images, taps, network.reach(number), network.stride), 0)
        yield images


def _convolve(images: np.ndarray, taps: Array, reach: tuple[int, ...], stride: int) -> Array:
    axes = tuple(range(-taps.ndim, 0))
    outputs: Array = np.zeros(1)
    for place in np.ndindex(taps.shape):
        seen = np.roll(images, [left - t for left, t in zip(reach, place, strict=True)], axes)
        seen = seen[..., ::stride] if taps.ndim == 1 else seen[..., ::stride, ::stride]
        outputs = outputs + taps[place] * seen
    return outputs


def widths(network: Layers) -> list[float]:
    """Return the standard deviation of f_k(δ) on an infinite line or grid, in pixels, along an axis.

    The response is read as the distribution of a random walk's end: for homogeneous filters
    A_k = sqrt(k (F² - 1) / 12), exactly. In two dimensions the root mean of the variances along both axes. ReLU acts
    where filters have negative taps; nan where nothing is left.
    """
    response = np.ones((1,) * network.taps[0].ndim)
    found = []
    for taps in network.taps:
        response = np.maximum(_full_convolution(response, taps), 0)
        total = response.sum()
        if total == 0:
            found.append(np.nan)
            continue
        response = response / total
        found.append(_spread(response, [np.arange(size, dtype=float) for size in response.shape]))
    return found


def width_on_ring(response: Array) -> float:
    """Return the standard deviation of a response on the ring or torus, in pixels, along an axis.

    Taken about the circular mean, with every pixel at its nearest image: at most about L / sqrt(12), the width of a
    response which is spread over the whole ring. nan where there is no response.
    """
    if response.sum() == 0:
        return float("nan")
    response = response / response.sum()
    positions = []
    for axis, size in enumerate(response.shape):
        along = response.sum(axis=tuple(other for other in range(response.ndim) if other != axis))
        middle = np.angle(np.sum(along * np.exp(2j * np.pi * np.arange(size) / size))) * size / (2 * np.pi)
        positions.append((np.arange(size) - middle + size / 2) % size)
    return _spread(response, positions)


def _spread(response: np.ndarray, positions: list[np.ndarray]) -> float:
    variances = []
    for axis, along in enumerate(positions):
        marginal = response.sum(axis=tuple(other for other in range(response.ndim) if other != axis))
        mean = np.sum(marginal * along)
        variances.append(np.sum(marginal * np.square(along - mean)))
    return float(np.sqrt(np.mean(variances)))


def _full_convolution(response: np.ndarray, taps: Array) -> Array:
    shape = tuple(a + b - 1 for a, b in zip(response.shape, taps.shape, strict=True))
    total = np.zeros(shape)
    for place in np.ndindex(taps.shape):
        corner = tuple(slice(t, t + size) for t, size in zip(place, response.shape, strict=True))
        total[corner] += taps[place] * response
    return total
