"""What plain Gaussian noise does to the first layer of a ReLU network: second moments, exactly."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Float64, Int64

from poolscope.theory.arrays import Array
from poolscope.theory.filters import Layers
from poolscope.theory.rectified import change_mean, change_product
from poolscope.theory.separations import Separations


def first_layer_spectrum(network: Layers, pairs: Separations, amplitude: float, noise: float) -> Array:
    """Return E|û(q)|² of u = max(0, M(x + η)) - Mx at the first layer, on the frequencies of its ring or torus.

    From layer 1 on all is positive and filters without negative taps act linearly, so that the numerator of G_k with
    plain noise is 1/N_1 Σ_q B_{2..k}(q) E|û(q)|², with N_1 pixels at layer 1.

    The noise of two outputs is correlated where their windows overlap. With e(y, y'; ρ) = E[u u'] at signals y, y' and
    correlation ρ, the sum over all pairs of outputs at one distance is that of an empty image, plus what each output
    with a signal changes, plus what each two of them change together.

    Args:
        network: of at least one layer, the first without negative taps.
        pairs: stationary, or stride 1.
        amplitude: of an active pixel.
        noise: standard deviation of η, a pixel, more than 0.
    """
    taps, stride = network.taps[0], network.stride
    length, dim = pairs.probability.shape[0], taps.ndim
    side = length // stride
    covariance = _window_overlaps(taps, side, stride)
    correlation = covariance / covariance[(0,) * dim]
    spread = noise * np.sqrt(covariance[(0,) * dim])

    separations = np.argwhere(pairs.probability > 0)
    weights = pairs.probability[pairs.probability > 0]
    nothing = np.zeros(1)
    empty = change_product(nothing, nothing, correlation)
    total = side**dim * empty
    # One image for each separation and each place of the first pixel within its patch.
    for first in itertools.product(range(stride), repeat=dim):
        outputs, signal = _signals(network, np.array(first), separations, side)
        signal = signal * (amplitude / spread)
        share = weights / stride**dim
        total = total + _alone(signal, share, correlation, empty)
        _add_together(total, outputs, signal, share, correlation)
    return np.asarray(np.fft.fftn(total).real * spread**2)


def _alone(signal: np.ndarray, share: np.ndarray, correlation: np.ndarray, empty: np.ndarray) -> np.ndarray:
    """Sum 2 (e(y, 0; ρ) - e(0, 0; ρ)) over the outputs with a signal, for every distance."""
    values, where = np.unique(signal, return_inverse=True)
    weight = np.bincount(where.ravel(), np.broadcast_to(share[:, None], signal.shape).ravel())
    changes = np.full(correlation.shape, np.sum(weight * change_mean(values)) - weight.sum() * change_mean(np.zeros(1)))
    changes = changes * change_mean(np.zeros(1))
    overlapping = correlation != 0
    products = change_product(values[:, None], np.zeros((1, 1)), correlation[overlapping][None])
    changes[overlapping] = weight @ (products - empty[overlapping])
    return np.asarray(2 * changes)


def _add_together(
    total: np.ndarray, outputs: np.ndarray, signal: np.ndarray, share: np.ndarray, correlation: np.ndarray
) -> None:
    """Add e(y, y') - e(y, 0) - e(0, y') + e(0, 0) of every two outputs with a signal, at their distance."""
    values, codes = np.unique(signal, return_inverse=True)
    codes = codes.reshape(signal.shape)
    relations, kinds = np.unique(correlation, return_inverse=True)
    kinds = kinds.reshape(correlation.shape)
    for one in range(signal.shape[1]):
        apart = tuple(np.moveaxis((outputs - outputs[:, [one]]) % total.shape[0], -1, 0))
        # Signals and correlations take few values: each combination is worked out once.
        combination = (codes[:, [one]] * len(values) + codes) * len(relations) + kinds[apart]
        distinct, where = np.unique(combination, return_inverse=True)
        rest, kind = np.divmod(distinct, len(relations))
        first, second = np.divmod(rest, len(values))
        y, z, related, zero = values[first], values[second], relations[kind], np.zeros(1)
        change = (
            change_product(y, z, related)
            - change_product(y, zero, related)
            - change_product(zero, z, related)
            + change_product(zero, zero, related)
        )
        np.add.at(total, apart, share[:, None] * change[where].reshape(codes.shape))


def _signals(
    network: Layers, first: np.ndarray, separations: Int64[np.ndarray, "images dim"], side: int
) -> tuple[Int64[np.ndarray, "images outputs dim"], Float64[np.ndarray, "images outputs"]]:
    """Return the outputs that see one of the pixels first and first + separation, and M of the two pixels there.

    An output that sees both is listed twice, and has no signal the second time.
    """
    outputs, seen = _response(network, first + separations)
    there, seen_there = _response(network, first[None])
    outputs = np.concatenate([np.broadcast_to(there, outputs.shape), outputs], axis=1) % side
    seen = np.concatenate([np.broadcast_to(seen_there, seen.shape), seen], axis=1)
    same = (outputs[:, :, None] == outputs[:, None]).all(-1)
    signal = (same * seen[:, None]).sum(-1)
    repeated = np.tril(same, -1).any(-1)
    return outputs, np.where(repeated, 0.0, signal)


def _response(
    network: Layers, pixels: Int64[np.ndarray, "images dim"]
) -> tuple[Int64[np.ndarray, "images outputs dim"], Float64[np.ndarray, "images outputs"]]:
    """Return the outputs of layer 1 that see each pixel, and with which tap."""
    taps, stride = network.taps[0], network.stride
    if stride > 1:
        return (pixels // stride)[:, None], taps[tuple((pixels % stride).T)][:, None]
    places = np.stack(np.meshgrid(*map(np.arange, taps.shape), indexing="ij"), axis=-1).reshape(-1, taps.ndim)
    outputs = pixels[:, None] + np.array(network.reach(0)) - places
    return outputs, np.broadcast_to(taps.ravel(), outputs.shape[:-1])


def _window_overlaps(taps: Array, side: int, stride: int) -> Array:
    """Return the sum of tap products of two windows, by their distance on the ring or torus."""
    overlaps = np.zeros((side,) * taps.ndim)
    if stride > 1:
        overlaps[(0,) * taps.ndim] = np.square(taps).sum()
        return overlaps
    places = np.argwhere(np.ones(taps.shape, dtype=bool))
    apart = (places[:, None] - places[None]) % side
    np.add.at(overlaps, tuple(np.moveaxis(apart, -1, 0)), taps.ravel()[:, None] * taps.ravel()[None])
    return overlaps
