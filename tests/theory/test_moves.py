"""What moves take from each Fourier mode, against the modes of moved single pixels."""

import numpy as np
import pytest

from poolscope.theory.moves import lost_by_moving
from theory.oracle import MOVES


@pytest.mark.parametrize(("moves", "dim"), MOVES)
def test_single_pixels(moves, dim):
    length = 7
    expected = np.zeros((length,) * dim)
    for step, probability in MOVES[moves, dim].items():
        pixel = np.zeros((length,) * dim)
        pixel[step] = 1
        expected += probability * (1 - np.fft.fftn(pixel).real)
    np.testing.assert_allclose(lost_by_moving(moves, length, dim), expected, rtol=1e-13, atol=1e-15)


def test_slow_modes_keep_their_precision():
    lost = lost_by_moving("left-right", 10**6, 1)[1]
    turn = 2 * np.pi / 10**6
    assert lost == pytest.approx(turn**2 / 2 * (1 - turn**2 / 12), rel=1e-14)    # 1 - cos would keep 5 digits
