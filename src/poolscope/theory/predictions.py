"""Exact D, G, R of scale detection in networks of one channel, layer by layer: the table of `predict`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from poolscope.perturb.pixel_shift import Moves, steps
from poolscope.theory.enumeration import enumerated_powers
from poolscope.theory.filters import Layers, check_fits, layers
from poolscope.theory.first_layer import first_layer_spectrum
from poolscope.theory.moves import lost_by_moving
from poolscope.theory.power import power_spectra
from poolscope.theory.propagation import responses, width_on_ring, widths
from poolscope.theory.separations import Boundary, Norm, Separations, separations

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = {
    "k": "int64", "A": "float64", "D": "float64", "G_rectified": "float64", "G_relu": "float64",
    "G_linear": "float64", "R": "float64", "A_ring": "float64", "D_eq4": "float64", "G_eq6": "float64", "note": "str",
}  # fmt: skip

_TEXT_GAP = 4.0  # section 4.3, task 1
_FLAT = (64 * np.finfo(float).eps) ** 2  # a spread below this share of E|f|² is rounding of transforms


def predict(
    task: int = 1,
    length: int = 32,
    scale: int = 11,
    gap: float | int | None = None,
    filter_size: int = 3,
    stride: int = 1,
    depth: int = 12,
    *,
    filters: Sequence[Any] | np.ndarray | None = None,
    dim: int = 1,
    moves: Moves = "left-right",
    boundary: Boundary | None = None,
    norm: Norm = "euclidean",
) -> pd.DataFrame:
    """Predict D, G and R at every layer of a network of one channel on scale detection, exactly.

    The network of section 4: circular, ReLU, no bias, homogeneous filters or the given ones. Averages run over all
    allowed pairs of pixels, uniformly, over both moves (wrapped round; two pixels that meet add up) and over the noise.
    Nothing is sampled, and the denominator E|f(x1) - f(x2)|² is the population's, x1 and x2 independent. The scale of a
    filter, and that of an active pixel, drop out of everything.

    Noise has the displacement's power E|τx - x|² and is Gaussian, one variance for all pixels:

    - ``G_rectified``: max(0, η) is added, matched before rectifying, as section 4.3 and the authors' code do it
      (matched after it, twice this). A linear network with the same filters has exactly this too (erratum 25).
    - ``G_relu``: η itself is added, the network rectifies (definition (1)).
    - ``G_linear``: η is added, and the network is linear; tanh at small amplitude. With negative taps, its denominator
      is that of the linear network as well.

    Args:
        task: 1 (by distance) or 2 (by patches; every pair is allowed, so that ``scale`` plays no part in the numbers).
        length: L, pixels a side.
        scale: ξ, in pixels.
        gap: g, in pixels: distances ξ - g/2 <= d <= ξ + g/2 do not occur. None: 4 for task 1, as in section 4.3.
        filter_size: F; without use where ``filters`` are given.
        stride: 1 (windows centred) or F (windows start at F b; L must be a multiple of F^depth).
        depth: number of layers.
        filters: one for each layer, such as mean filters of a trained network, or a single one for all.
        dim: 1 (ring) or 2 (torus).
        moves: of each active pixel, as for `PixelShift`: "left-right" (one step along an axis, section 4),
            "neighbour-or-stay" (section 3), "rounded-direction" (two dimensions, as published).
        boundary: whether distances go round ("periodic", default in one dimension) or not ("open", default in two).
            Networks and moves go round in any case.
        norm: of distances in two dimensions.

    Returns:
        One row a layer, with the columns

        - ``k``; ``A``: the receptive field A_k in pixels, the standard deviation of M^k δ on an infinite line at stride
          1 (sqrt(k (F² - 1) / 12) for homogeneous filters; along an axis in two dimensions), F^k at stride F.
        - ``D``, ``G_rectified``, ``G_relu``, ``G_linear``, and ``R`` = D / G_rectified.
        - ``A_ring``: the standard deviation on the ring or torus, at most about L / sqrt(12); at stride F as ``A``.
        - ``D_eq4``: |f(δ_{i+1}) - f(δ_i)|² / |f(δ_i)|² of equation (4), numerator and denominator averaged over i (and
          over the axis of the step); twice D for well separated pixels (erratum 8).
        - ``G_eq6``: E|f(φ(η))|² / |f(δ_i)|² of equation (6), the single pixel having the norm of an input. Twice
          G_rectified likewise, so that their ratio goes to R. Its numerator is not constant (erratum 10).
        - ``note``: why something is nan. After a filter without positive taps ReLU leaves no signal (erratum 28); a
          filter of mixed signs leaves D exact by enumeration, but has no closed form for rectified noise; where one
          pixel is left, or the filters lose every trace of positions, the denominator is 0.

    Raises:
        ValueError: an argument that makes no task or no network; a gap for task 2; open distances with stride F.

    Source: definition (1), section 4, equations (4) to (9); windows and constants as errata 1 to 3 have them.
    For task 2 with homogeneous filters D = L (2L - 3) / (2n (L - 2)(L - n)), n = F^k.
    """
    import pandas as pd

    setting = _setting(task, length, scale, gap, filter_size, stride, depth, filters, dim, moves, boundary, norm)
    rows = []
    fields, rings = _fields(setting)
    exact = _exact(setting)
    for k in range(setting.network.depth):
        rows.append({"k": k + 1, "A": fields[k], "A_ring": rings[k], **exact[k]})
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


@dataclass(frozen=True)
class _Setting:
    network: Layers
    pairs: Separations
    length: int
    dim: int
    moves: Moves

    @property
    def pixels(self) -> int:
        return int(self.length**self.dim)


def _setting(
    task: int, length: int, scale: int, gap: float | int | None, filter_size: int, stride: int, depth: int,
    filters: Sequence[Any] | np.ndarray | None, dim: int, moves: Moves, boundary: Boundary | None, norm: Norm,
) -> _Setting:  # fmt: skip
    if gap is None:
        gap = _TEXT_GAP if task == 1 else 0.0
    pairs = separations(task, length, scale, gap, dim=dim, boundary=boundary, norm=norm)
    network = layers(filter_size, stride, depth, filters, dim)
    check_fits(network, length)
    steps(moves, dim)
    if not pairs.is_stationary and network.stride > 1:
        raise ValueError(
            "task 1 with stride F needs boundary='periodic': open distances favour some places within a window over "
            f"others, which is not worked out here; got stride={stride}, boundary={boundary} (dim={dim})"
        )
    return _Setting(network, pairs, length, dim, moves)


def _fields(setting: _Setting) -> tuple[list[float], list[float]]:
    network = setting.network
    if network.stride > 1:
        dies = network.dies_at or network.depth + 1
        sizes = [float(network.stride**k) if k < dies else math.nan for k in range(1, network.depth + 1)]
        return sizes, sizes
    image = np.zeros((setting.length,) * setting.dim)
    image[(0,) * setting.dim] = 1
    return widths(network), [width_on_ring(response) for response in responses(network, image)]


def _exact(setting: _Setting) -> list[dict[str, float | str]]:
    network, pairs, pixels = setting.network, setting.pairs, setting.pixels
    lost = lost_by_moving(setting.moves, setting.length, setting.dim)
    one_step = lost_by_moving("left-right", setting.length, setting.dim)
    # The squared modes of τx - x: two pixels' moves, and what the two have in common.
    moved = 2 * lost * (2 + pairs.characteristic * lost)
    # Inputs have a mean square of 1 a pixel, so an active pixel has sqrt(pixels / 2).
    variance = moved.sum() / (2 * pixels)
    spectra = list(power_spectra(network, setting.length))
    relu_noise = _relu_noise(setting, math.sqrt(variance))
    enumerated = _enumerated(setting)
    rows: list[dict[str, float | str]] = []
    for k, spectrum in enumerate(spectra):
        if network.dies_at is not None and k + 1 >= network.dies_at:
            rows.append({"note": f"the signal is 0 from layer {network.dies_at} on: its filter has no positive tap"})
            continue
        spread = float((spectrum * pairs.variance).sum())
        spread_linear = spread if spread > _FLAT * spectrum.sum() else math.nan
        linear = variance * spectrum.sum()
        row: dict[str, float | str] = {"G_linear": linear / spread_linear}
        if k < network.linear_until:
            mean_square = 1 / (2 * math.pi)  # (E max(0, η))² / σ²
            rectified = variance * ((1 / 2 - mean_square) * spectrum.sum() + mean_square * pixels * spectrum.flat[0])
            shift = float((spectrum * moved).sum()) / 2
            row["D"], row["G_rectified"] = shift / spread_linear, rectified / spread_linear
            row["R"] = shift / rectified if spread_linear > 0 else math.nan
            row["G_relu"] = relu_noise[k] / spread_linear
            row["D_eq4"] = 2 * float((spectrum * one_step).sum() / spectrum.sum())
            row["G_eq6"] = rectified / spectrum.sum()
            row["note"] = "" if spread_linear > 0 else "nothing is left of where the pixels are: the spread is 0"
        else:
            row["D"], row["note"] = enumerated[k]
        rows.append(row)
    return rows


def _relu_noise(setting: _Setting, noise: float) -> list[float]:
    """Return E|f_k(x + η) - f_k(x)|² for plain noise and ReLU, up to the first filter with negative taps."""
    network = setting.network
    if network.linear_until == 0:
        return []
    changes = first_layer_spectrum(network, setting.pairs, math.sqrt(setting.pixels / 2), noise)
    found = [float(changes.mean())]
    later = Layers(network.taps[1 : network.linear_until], network.stride)
    if later.taps:
        spectra = power_spectra(later, setting.length // network.stride)
        found += [float((spectrum * changes).mean()) for spectrum in spectra]
    return found


def _enumerated(setting: _Setting) -> dict[int, tuple[float, str]]:
    """Return D, and a remark, of the layers from the first with negative taps to the last with a signal."""
    network, found = setting.network, {}
    last = network.depth if network.dies_at is None else network.dies_at - 1
    if network.linear_until >= last:
        return {}
    remark = "negative taps before or here: no closed form for rectified noise"
    if not setting.pairs.is_stationary:
        remark = f"{remark}, and none for D with open distances"
        return {k: (math.nan, remark) for k in range(network.linear_until, last)}
    alive = Layers(network.taps[:last], network.stride)
    shift, spread, power = enumerated_powers(alive, setting.pairs, steps(setting.moves, setting.dim).numpy())
    for k in range(network.linear_until, last):
        if power[k] == 0:
            found[k] = (math.nan, "the signal is 0: ReLU leaves nothing of any input")
        elif spread[k] < 1e-12 * power[k]:  # a difference of means, in which rounding is about this
            found[k] = (math.nan, f"nothing is left of where the pixels are: the spread is 0; {remark}")
        else:
            found[k] = (float(shift[k] / spread[k]), remark)
    return found
