"""The dilute limit against large rings and against walks counted step by step."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from poolscope.theory import dilute, predict
from poolscope.theory.rectified import change_product


def walk(size: int, steps: int, dim: int) -> Counter:
    """Probabilities of the end of a uniform walk, exactly, on the difference of two windows' positions."""
    places = Counter({(0,) * dim: Fraction(1)})
    for step in range(2 * steps):
        along = range(size) if step % 2 else range(0, -size, -1)    # one response, and the mirror image of the other
        after: Counter = Counter()
        for place, probability in places.items():
            for jump in np.ndindex((size,) * dim):
                after[tuple(i + along[j] for i, j in zip(place, jump, strict=True))] += probability / size**dim
        places = after
    return places


@pytest.mark.parametrize(("size", "depth", "dim"), [(3, 4, 1), (2, 5, 1), (5, 2, 1), (3, 2, 2), (2, 2, 2), (2, 1, 3)])
def test_overlaps_of_a_walk_of_2k_steps(size, depth, dim):
    table = dilute(size, 1, depth, dim=dim)
    for k in range(1, depth + 1):
        overlap = walk(size, k, dim)
        kept, shifted = overlap[(0,) * dim], overlap[(1, *(0,) * (dim - 1))]
        row = table.iloc[k - 1]
        assert row["D"] == pytest.approx(float(1 - shifted / kept), rel=1e-12)
        floor = 1 / 2 - 1 / (2 * math.pi)
        assert row["G_rectified"] == pytest.approx(floor + 1 / (2 * math.pi * float(kept)), rel=1e-12)
        # Plain noise: the first layer's noise is the walk's first two steps correlated, and then spread by the others.
        first, later = walk(size, 1, dim), walk(size, k - 1, dim)
        power = 0.0
        for place in later:
            related = np.array([float(first[place] / first[(0,) * dim])])
            moment = change_product(np.zeros(1), np.zeros(1), related)[0]
            power += float(later[place]) * moment * float(first[(0,) * dim])
        assert row["G_relu"] == pytest.approx(power / float(kept), rel=1e-12)


@pytest.mark.parametrize(("size", "stride", "depth"), [(3, 1, 5), (4, 1, 3), (2, 2, 5), (5, 5, 2)])
def test_large_rings(size, stride, depth):
    length, table = 20_000, dilute(size, stride, depth)
    exact = predict(2, length, 5, filter_size=size, stride=stride, depth=depth)
    for column in ("A", "D", "G_rectified", "G_relu", "G_linear", "R"):
        np.testing.assert_allclose(exact[column], table[column], rtol=5 * size**depth / length if stride > 1 else 2e-3)
    assert (table["G_linear"] == 1).all()


def test_stride_f_in_two_dimensions():
    """A square of n² pixels a patch: on 64² pixels, corrections of order n² / 64²."""
    exact, table = predict(2, 64, 5, filter_size=2, stride=2, depth=3, dim=2), dilute(2, 2, 3, dim=2)
    for column in ("D", "G_rectified", "G_relu", "G_linear"):
        np.testing.assert_allclose(exact[column], table[column], rtol=2 * 64 / 64**2)
    np.testing.assert_allclose(table["D"], 2.0 ** -np.arange(1, 4), rtol=1e-14)
    floor = 1 / 2 - 1 / (2 * math.pi)
    np.testing.assert_allclose(table["G_rectified"], 4.0 ** np.arange(1, 4) / (2 * math.pi) + floor, rtol=1e-14)


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"filter_size must be a whole number, 2 or more; got 1"):
        dilute(1)
    with pytest.raises(ValueError, match=r"stride must be 1 or the filter size 3.*got 2"):
        dilute(3, 2)
    with pytest.raises(ValueError, match=r"depth must be a whole number, 1 or more; got 0"):
        dilute(3, 1, 0)
    with pytest.raises(ValueError, match=r"dim must be a whole number, 1 or more; got 0"):
        dilute(dim=0)
