"""D and G of section 4's network at initialisation, in the limit of many channels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64

from poolscope.theory.filters import check_fits, layers
from poolscope.theory.kernel import kernels
from poolscope.theory.moves import lost_by_moving
from poolscope.theory.patches import mean_kernels
from poolscope.theory.separations import Separations, separations

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = {
    "k": "int64", "D": "float64", "G_rectified": "float64", "G_rectified_se": "float64", "G_relu": "float64",
    "G_relu_se": "float64", "R": "float64", "cosine": "float64",
}  # fmt: skip
_AT_ONCE = 2**21  # kernel values in memory together: 16 MiB


def initial(
    task: int = 1,
    length: int = 32,
    scale: int = 11,
    gap: float | int | None = None,
    filter_size: int = 3,
    stride: int = 1,
    depth: int = 12,
    *,
    bias_variance: float | int = 1.0,
    pooled: bool = False,
    draws: int = 8192,
    seed: int = 0,
) -> pd.DataFrame:
    """Predict D, G, R of section 4's network before training, for infinitely many channels, in one dimension.

    The authors' parametrisation: weights N(0, 1) / sqrt(C_in F), biases, √F max(0, ·), circular padding. The
    representation f_k is taken after the activation. D is exact, by enumeration of all pairs of inputs; the noise of G
    is drawn, since the kernel is not linear in its input.

    Args:
        task, length, scale, gap, filter_size, stride, depth: as for `predict`.
        bias_variance: 1 as published, 0 as the text assumes ("small bias").
        pooled: f_k averaged over positions, as by the global pooling before the read-out; stride 1 only.
        draws: of the input and the noise together, 2 or more.
        seed: of the draws.

    Returns:
        One row a layer, with the columns ``k``, ``D``; ``G_rectified``, ``G_relu``: of rectified and plain noise, with
        standard errors ``G_rectified_se``, ``G_relu_se``; ``R`` = D / G_rectified; ``cosine``: E[f(x1) · f(x2)] /
        E|f(x)|² of two independent inputs.

    Raises:
        ValueError: as for `predict`; a negative variance, too few draws, or pooling at stride F.

    Source: erratum 15: D and G are not constant at initialisation, as section 4.1 has it from E[f f] ≈ δ. Task 1: D
    falls from 0.92 to 0.63 and G (rectified) rises from 0.53 to 0.73 over twelve layers; without bias D falls from 0.84
    to 0.24.
    """
    import pandas as pd

    if gap is None:
        gap = 4.0 if task == 1 else 0.0
    pairs = separations(task, length, scale, gap, dim=1, boundary=None, norm="euclidean")
    check_fits(layers(filter_size, stride, depth, None, 1), length)
    _check(bias_variance, pooled, stride, draws)
    network = _Network(filter_size, stride, depth, float(bias_variance), pooled)
    value = math.sqrt(length / 2)

    allowed = _allowed_pairs(pairs, length)
    # Inputs which are shifts of each other by a period of the windows have the same kernels.
    period = min(stride**depth, length)
    some = np.stack(np.broadcast_arrays(np.arange(period)[:, None], np.arange(period)[:, None] + np.arange(length)), -1)
    share = np.broadcast_to(pairs.probability / period, some.shape[:2])
    kept = share.ravel() > 0
    some, share = some.reshape(-1, 2)[kept] % length, share.ravel()[kept]

    power, moved = np.zeros(depth), np.zeros(depth)
    still = _images(some, length, value)
    for part in _parts(len(some), network.values(length)):
        own = network.powers(still[part], still[part])
        power += own @ share[part]
        for step in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            images = _images((some[part] + np.array(step)) % length, length, value)
            change = own + network.powers(images, images) - 2 * network.powers(still[part], images)
            moved += change @ share[part] / 4
    if stride == 1:
        both = _mean_over_pairs(network, still, share, _images(allowed, length, value))
    else:
        mean = mean_kernels(allowed, size=stride, depth=depth, bias_variance=network.bias_variance, value=value)
        both = np.array([length // stride**k * each for k, each in enumerate(mean, 1)])
    spread = 2 * (power - both)
    lost = lost_by_moving("left-right", length, 1)
    deviation = math.sqrt((lost * (2 + pairs.characteristic * lost)).sum() / length)
    noise = _noise_powers(network, allowed, length, value, deviation, draws, np.random.default_rng(seed))
    table = pd.DataFrame({"k": np.arange(1, depth + 1), "D": moved / spread, "cosine": both / power})
    for name, changes in noise.items():
        table[name] = changes.mean(1) / spread
        # Of the numerator alone: the spread is exact.
        table[f"{name}_se"] = changes.std(1, ddof=1) / math.sqrt(draws) / spread
    table["R"] = table["D"] / table["G_rectified"]
    return table[list(_COLUMNS)].astype(_COLUMNS)


@dataclass(frozen=True)
class _Network:
    filter_size: int
    stride: int
    depth: int
    bias_variance: float
    pooled: bool

    def values(self, length: int) -> int:
        """Return how many numbers the kernels of two images have."""
        return length**2 if self.pooled else length

    def powers(self, x: np.ndarray, y: np.ndarray) -> Float64[np.ndarray, "depth ..."]:
        """Return ⟨f_k(x) · f_k(y)⟩ a channel, for every layer: summed over positions, or of the pooled maps."""
        every = kernels(
            x, y, filter_size=self.filter_size, stride=self.stride, depth=self.depth, bias_variance=self.bias_variance,
            every_distance=self.pooled,
        )  # fmt: skip
        if self.pooled:
            return np.stack([kernel.mean((-2, -1)) for kernel in every])
        return np.stack([kernel[..., 0].sum(-1) for kernel in every])


def _mean_over_pairs(
    network: _Network, first: np.ndarray, share: np.ndarray, second: np.ndarray
) -> Float64[np.ndarray, " depth"]:
    """Average ⟨f_k(x1) · f_k(x2)⟩ over x1 of ``first``, with weights, and x2 of ``second``."""
    total = 0.0
    for image, weight in zip(first, share, strict=True):
        for part in _parts(len(second), network.values(second.shape[1])):
            total = total + weight * network.powers(image, second[part]).sum(1)
    return np.asarray(total / len(second))


def _noise_powers(
    network: _Network, pairs: np.ndarray, length: int, value: float, deviation: float, draws: int,
    generator: np.random.Generator,
) -> dict[str, Float64[np.ndarray, "depth draws"]]:  # fmt: skip
    """Return |f_k(x + noise) - f_k(x)|² a channel of each draw, with rectified and with plain noise of one draw."""
    changes: dict[str, list[np.ndarray]] = {"G_rectified": [], "G_relu": []}
    for part in _parts(draws, network.values(length)):
        count = len(range(*part.indices(draws)))
        images = _images(pairs[generator.integers(len(pairs), size=count)], length, value)
        own = network.powers(images, images)
        noise = deviation * generator.standard_normal(images.shape)
        for name, added in (("G_rectified", np.maximum(noise, 0)), ("G_relu", noise)):
            noisy = images + added
            changes[name].append(own + network.powers(noisy, noisy) - 2 * network.powers(images, noisy))
    return {name: np.concatenate(parts, axis=1) for name, parts in changes.items()}


def _allowed_pairs(pairs: Separations, length: int) -> Int64[np.ndarray, "inputs 2"]:
    """Return every allowed pair once, the smaller pixel first."""
    first, second = np.triu_indices(length, 1)
    allowed = pairs.probability[second - first] > 0
    return np.stack([first[allowed], second[allowed]], axis=1)


def _images(pairs: Int64[np.ndarray, "inputs 2"], length: int, value: float) -> Float64[np.ndarray, "inputs pixels"]:
    images = np.zeros((len(pairs), length))
    for pixel in pairs.T:
        np.add.at(images, (np.arange(len(pairs)), pixel), value)
    return images


def _parts(count: int, values: int) -> Iterator[slice]:
    """Cut a range into parts of so many items that their kernels fit into memory."""
    step = max(1, _AT_ONCE // values)
    for start in range(0, count, step):
        yield slice(start, start + step)


def _check(bias_variance: float | int, pooled: bool, stride: int, draws: int) -> None:
    if not 0 <= bias_variance < math.inf:
        raise ValueError(f"bias_variance must be finite and not negative; got {bias_variance!r}")
    if pooled and stride > 1:
        raise ValueError(f"pooled needs stride 1; at stride F the last layer has one pixel anyway; got {stride!r}")
    if isinstance(draws, bool) or draws < 2:
        raise ValueError(f"draws must be a whole number, 2 or more, for a standard error; got {draws!r}")
