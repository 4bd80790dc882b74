"""D of a one-channel ReLU network by enumeration, for filters with negative taps, through which nothing is linear."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Float64, Int64

from poolscope.theory.filters import Layers
from poolscope.theory.propagation import responses
from poolscope.theory.separations import Separations

_AT_ONCE = 2**21  # numbers in a batch of images: 16 MiB


def enumerated_powers(
    network: Layers, pairs: Separations, moves: Int64[np.ndarray, "moves dim"]
) -> tuple[Float64[np.ndarray, " depth"], Float64[np.ndarray, " depth"], Float64[np.ndarray, " depth"]]:
    """Return E|f_k(τx) - f_k(x)|², the spread E|f_k(x1) - f_k(x2)|² and E|f_k(x)|² of each layer, unit active pixels.

    Every separation with the first pixel at every place of one period (the product of all strides) stands for all
    allowed pairs, which are shifts of these. Cost: (places) x (separations) x (moves)² forward passes.

    Args:
        pairs: stationary.
        moves: each pixel's, all equally likely.
    """
    shape = pairs.probability.shape
    separations = np.argwhere(pairs.probability > 0)
    weights = pairs.probability[pairs.probability > 0]
    period = min(network.stride**network.depth, shape[0])
    shift, power, mean = (np.zeros(network.depth) for _ in range(3))
    batch = max(1, _AT_ONCE // pairs.probability.size)
    for first in np.array(list(itertools.product(range(period), repeat=len(shape)))):
        for start in range(0, len(separations), batch):
            some = separations[start : start + batch]
            share = weights[start : start + batch] / period ** len(shape)
            still = list(responses(network, _images(shape, first, first + some)))
            for k, layer in enumerate(still):
                power[k] += share @ _squares(layer)
                mean[k] += share @ layer.reshape(len(some), -1).mean(1)
            for one, other in itertools.product(moves, repeat=2):
                images = _images(shape, first + one, first + some + other)
                for k, layer in enumerate(responses(network, images)):
                    shift[k] += share @ _squares(layer - still[k]) / len(moves) ** 2
    # Shifts of the pairs by a period shift the outputs by one, so that the mean representation is constant.
    outputs = np.array([np.prod(shape) / network.stride ** (k * len(shape)) for k in range(1, network.depth + 1)])
    return shift, 2 * (power - outputs * mean**2), power


def _images(shape: tuple[int, ...], first: np.ndarray, second: np.ndarray) -> Float64[np.ndarray, "images ..."]:
    images = np.zeros((len(second), *shape))
    for pixel in (np.broadcast_to(first, second.shape), second):
        np.add.at(images, (np.arange(len(second)), *(pixel % shape[0]).T), 1)
    return images


def _squares(layer: np.ndarray) -> Float64[np.ndarray, " images"]:
    return np.asarray(np.square(layer).reshape(len(layer), -1).sum(1))
