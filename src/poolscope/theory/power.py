"""The power spectrum of M^k: how much of each Fourier mode of the input is left at layer k of a linear network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from poolscope.theory.arrays import Array
from poolscope.theory.filters import Layers


def power_spectra(network: Layers, length: int) -> Iterator[Array]:
    """Yield B_k(q) for k = 1, 2, ... on the frequencies q of a ring or torus of ``length`` pixels a side.

    With f_k = P x, B_k is the Fourier transform of the mean over pixels i of (PᵀP)_{i, i+r}; so for inputs x whose
    distribution does not change when they are shifted, E|P x|² = 1/N Σ_q B_k(q) E|x̂(q)|², exactly, N the number of
    pixels. It is Π_l |ŵ_l|² / (number of pixels merged into one). All terms are positive: nothing cancels, however
    deep.
    """
    spectrum = np.ones((length,) * network.taps[0].ndim)
    side = length
    for taps in network.taps:
        squares = np.square(np.abs(np.fft.fftn(_on_ring(taps, side))))
        # q as seen by a layer whose pixels are s apart is s q: its spectrum repeats.
        spectrum = spectrum * np.tile(squares, (length // side,) * taps.ndim) / network.stride**taps.ndim
        side //= network.stride
        yield spectrum


def _on_ring(taps: Array, side: int) -> Array:
    """Put the taps at the first pixels of an empty ring or torus."""
    return np.pad(taps, [(0, side - size) for size in taps.shape])
