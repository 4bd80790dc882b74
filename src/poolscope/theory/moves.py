"""What moving active pixels by one pixel takes from each Fourier mode of an image, on average."""

from __future__ import annotations

import numpy as np

from poolscope.perturb.pixel_shift import Moves, steps
from poolscope.theory.arrays import Array


def lost_by_moving(moves: Moves, length: int, dim: int) -> Array:
    """Return 1 - ⟨cos(q · step)⟩ on the frequencies q of a ring or torus, to full precision at small q.

    Args:
        moves: of an active pixel, see `PixelShift`; all steps equally likely, and as likely as their opposites.
        length: pixels a side.
        dim: 1 or 2.

    Raises:
        ValueError: moves that there are not in this dimension.

    Erratum 6: "left-right" and "neighbour-or-stay" differ by a third in displacement power, but little in R.
    """
    frequencies = np.stack(np.meshgrid(*[np.arange(length)] * dim, indexing="ij"), axis=-1)
    turns = frequencies @ steps(moves, dim).numpy().T % length
    return np.asarray((2 * np.square(np.sin(np.pi * turns / length))).mean(-1))
