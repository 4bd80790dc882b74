"""The kernel of section 4's network at initialisation and infinite width, from layer to layer."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

from poolscope.theory.arrays import Array


def kernels(
    x: Float64[np.ndarray, "*#batch pixels"],
    y: Float64[np.ndarray, "*#batch pixels"],
    *,
    filter_size: int,
    stride: int,
    depth: int,
    bias_variance: float,
    every_distance: bool = False,
) -> Iterator[Float64[np.ndarray, "*batch outputs distances"]]:
    """Yield q_k[a, r] = ⟨f_k(x)_a f_k(y)_{a + r}⟩, the mean over channels, of two images at k = 1 .. depth.

    With weights N(0, 1) / sqrt(C_in F), biases N(0, bias_variance) and f = √F max(0, ·), circular, the hidden units of
    infinitely many channels are Gaussian, with covariance K_k(x a, y b) = bias_variance + 1/F Σ_t q_{k-1}(x a+t, y b+t)
    and q_0 the product of pixels; q_k is F times the arc-cosine kernel of K_k.

    Args:
        x, y: images on a ring; the leading axes broadcast.
        every_distance: r = 0 .. pixels - 1 (at stride 1, where a distance stays what it is), or r = 0 alone.

    Source: the authors' parametrisation (weights, biases, √F after the ReLU); Y. Cho, L. Saul, NeurIPS 2009, for the
    kernel. The text takes E[f f] = δ instead (erratum 15).
    """
    other = _every_shift(y) if every_distance else y[..., None]
    cross = x[..., None] * other
    mine, theirs = np.square(x)[..., None], np.square(y)[..., None]
    for _ in range(depth):
        cross, mine, theirs = (
            bias_variance + _window_mean(each, filter_size, stride) for each in (cross, mine, theirs)
        )
        there = _every_shift(theirs[..., 0]) if every_distance else theirs
        cross = filter_size * arc_cosine(cross, mine, there)
        mine, theirs = filter_size * mine / 2, filter_size * theirs / 2
        yield cross


def arc_cosine(covariance: Array, one: Array, other: Array) -> Array:
    """Return E[max(0, X) max(0, Y)] for centred Gaussian X, Y with this covariance and these variances."""
    scale = np.sqrt(one * other)
    with np.errstate(invalid="ignore"):
        cosine = np.where(scale > 0, np.clip(covariance / scale, -1, 1), 0)
    angle = np.arccos(cosine)
    return np.asarray(scale * (np.sin(angle) + (math.pi - angle) * cosine) / (2 * math.pi))


def _every_shift(image: Array) -> Array:
    """Return image[..., a + r] with axes a, r."""
    size = image.shape[-1]
    return np.asarray(image[..., (np.arange(size)[:, None] + np.arange(size)) % size])


def _window_mean(kernel: Array, filter_size: int, stride: int) -> Array:
    """Average over each output's window along the positions, the last axis but one."""
    if stride > 1:
        outputs = kernel.shape[-2] // stride
        return np.asarray(kernel.reshape(*kernel.shape[:-2], outputs, stride, kernel.shape[-1]).mean(-2))
    left = (filter_size - 1) // 2
    return np.asarray(sum(np.roll(kernel, left - t, -2) for t in range(filter_size)) / filter_size)
