"""The definitions in slow loops and dense matrices, against which the fast sums of `poolscope.theory` are held."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist


def pixels(length: int, dim: int) -> list[tuple[int, ...]]:
    return list(itertools.product(range(length), repeat=dim))


def distance(a: tuple, b: tuple, length: int, boundary: str, norm: str) -> float:
    apart = [abs(i - j) for i, j in zip(a, b, strict=True)]
    if boundary == "periodic":
        apart = [min(r, length - r) for r in apart]
    return max(apart) if norm == "max" else sum(r * r for r in apart) ** 0.5


def allowed_pairs(
    task: int, length: int, scale: int, gap: float, dim: int = 1, boundary: str = "periodic", norm: str = "euclidean"
) -> list[tuple[tuple, tuple]]:
    every = itertools.combinations(pixels(length, dim), 2)
    if task == 2:
        return list(every)
    found = []
    for a, b in every:
        d = distance(a, b, length, boundary, norm)
        if not scale - gap / 2 <= d <= scale + gap / 2:
            found.append((a, b))
    return found


def images(length: int, dim: int, pairs: list, moves: tuple = ()) -> np.ndarray:
    """[pairs, pixels], each pixel of a pair moved by its move, wrapped; pixels that meet add up."""
    x = np.zeros((len(pairs), *(length,) * dim))
    for row, pair in zip(x, pairs, strict=True):
        for pixel, move in zip(pair, moves or [(0,) * dim] * 2, strict=True):
            row[tuple((i + s) % length for i, s in zip(pixel, move, strict=True))] += (length**dim / 2) ** 0.5
    return x.reshape(len(pairs), -1)


def layer_matrix(taps: np.ndarray, side: int, stride: int) -> np.ndarray:
    """[outputs, inputs] of one circular convolution; windows centred (stride 1), or starting at stride * output."""
    dim = taps.ndim
    where = {pixel: number for number, pixel in enumerate(pixels(side, dim))}
    outputs = pixels(side // stride, dim)
    matrix = np.zeros((len(outputs), len(where)))
    for row, output in enumerate(outputs):
        for place in np.ndindex(taps.shape):
            left = [0 if stride > 1 else (size - 1) // 2 for size in taps.shape]
            seen = [stride * a - b + t for a, b, t in zip(output, left, place, strict=True)]
            matrix[row, where[tuple(i % side for i in seen)]] += taps[place]
    return matrix


def matrices(filters: list[np.ndarray], length: int, stride: int) -> list[np.ndarray]:
    found = []
    for k, taps in enumerate(filters):
        found.append(layer_matrix(np.asarray(taps, dtype=float), length // stride**k, stride))
    return found


def network(x: np.ndarray, layers: list[np.ndarray], relu: bool = True) -> Iterator[np.ndarray]:
    """x: [..., pixels]; yields [..., outputs] of each layer."""
    for matrix in layers:
        x = x @ matrix.T
        x = np.maximum(x, 0) if relu else x
        yield x


MOVES = {
    ("left-right", 1): {(-1,): 1 / 2, (1,): 1 / 2},
    ("left-right", 2): {(0, 1): 1 / 4, (0, -1): 1 / 4, (1, 0): 1 / 4, (-1, 0): 1 / 4},
    ("neighbour-or-stay", 1): {(-1,): 1 / 3, (0,): 1 / 3, (1,): 1 / 3},
    ("neighbour-or-stay", 2): {(0, 0): 0.2, (0, 1): 0.2, (0, -1): 0.2, (1, 0): 0.2, (-1, 0): 0.2},
    ("rounded-direction", 2): {
        step: (1 / 12 if all(step) else 1 / 6) for step in itertools.product((-1, 0, 1), repeat=2) if any(step)
    },
}


@dataclass
class Measured:
    """Per layer, in the order k = 1, 2, ...; ``noise_variance`` of the input."""

    shift: np.ndarray
    spread: np.ndarray
    spread_linear: np.ndarray
    noise_variance: float


def measure(
    pairs: list, length: int, dim: int, layers: list[np.ndarray], moves: str = "left-right"
) -> Measured:
    """E|f(τx) - f(x)|² and E|f(x1) - f(x2)|² over all inputs, all moves of both pixels, and all pairs of inputs."""
    weights = np.full(len(pairs), 1 / len(pairs))
    still = images(length, dim, pairs)
    clean = list(network(still, layers))
    shift, variance = np.zeros(len(layers)), 0.0
    for (s, p), (t, q) in itertools.product(MOVES[moves, dim].items(), repeat=2):
        moved = images(length, dim, pairs, (s, t))
        variance += p * q * weights @ np.square(moved - still).mean(1)
        for k, f in enumerate(network(moved, layers)):
            shift[k] += p * q * weights @ np.square(f - clean[k]).sum(1)
    linear = list(network(still, layers, relu=False))
    spread, spread_linear = (np.array([_spread(f, weights) for f in each]) for each in (clean, linear))
    return Measured(shift, spread, spread_linear, float(variance))


def _spread(f: np.ndarray, weights: np.ndarray) -> float:
    return float(weights @ cdist(f, f, "sqeuclidean") @ weights)


def random_filters(depth: int, shape: tuple[int, ...], seed: int, *, negative: bool = False) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    filters = [generator.uniform(0.1, 1, shape) for _ in range(depth)]
    if negative:
        filters = [generator.normal(0.15, 0.5, shape) for _ in range(depth)]
    return filters
