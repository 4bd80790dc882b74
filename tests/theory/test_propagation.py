"""One pixel through the layers, against dense matrices, and the windows and widths that errata are about."""

import math

import numpy as np
import pytest

from poolscope.theory import predict, propagate
from poolscope.theory.filters import layers
from poolscope.theory.propagation import width_on_ring, widths
from theory.oracle import matrices, network, random_filters
from theory.tables import TABLE_C2, TABLE_C3

CASES = [(3, 1, 4, 1, 9), (2, 1, 3, 1, 7), (4, 1, 2, 1, 9), (2, 2, 3, 1, 16), (3, 3, 2, 1, 9), (3, 1, 2, 2, 5),
         (2, 2, 2, 2, 8), (2, 1, 2, 2, 5)]    # fmt: skip


@pytest.mark.parametrize(("size", "stride", "depth", "dim", "length"), CASES)
@pytest.mark.parametrize("kind", ["homogeneous", "positive", "mixed"])
def test_dense_matrices(size, stride, depth, dim, length, kind):
    filters = [np.full((size,) * dim, float(size) ** -dim)] * depth
    if kind != "homogeneous":
        filters = random_filters(depth, (size,) * dim, seed=size, negative=kind == "mixed")
    given = None if kind == "homogeneous" else filters
    for pixel in [(0,) * dim, (length - 1,) * dim, (length // 2, *(1,) * (dim - 1))]:
        found = propagate(length, size, stride, depth, filters=given, dim=dim, pixel=pixel)
        x = np.zeros((length,) * dim)
        x[pixel] = 1
        for f, expected in zip(found, network(x.ravel(), matrices(filters, length, stride)), strict=True):
            np.testing.assert_allclose(f.ravel(), expected, rtol=1e-13, atol=1e-15)


def test_rectangular_filters_and_one_filter_for_all_layers():
    filters = random_filters(1, (2, 3), seed=0)
    once = propagate(5, depth=3, filters=filters[0], dim=2)
    for f, g in zip(once, propagate(5, depth=3, filters=filters * 3, dim=2), strict=True):
        np.testing.assert_array_equal(f, g)
    x = np.eye(25)[0]
    for f, expected in zip(once, network(x, matrices(filters * 3, 5, 1)), strict=True):
        np.testing.assert_allclose(f.ravel(), expected, rtol=1e-13)


def test_even_windows_reach_one_pixel_further_to_the_right():
    assert propagate(8, 4, depth=1, pixel=4)[0].nonzero()[0].tolist() == [2, 3, 4, 5]    # a - 1 .. a + 2 sees pixel 4
    assert propagate(8, 2, depth=1, pixel=4)[0].nonzero()[0].tolist() == [3, 4]


def test_windows_of_stride_f_fill_patches():
    """Erratum 3: pixels 0 .. 3 go into output 0 at k = 2 (not 1 .. 4), and 0 .. 8 for F = 3 (not -4 .. 4)."""
    for size, length in ((2, 16), (3, 27)):
        n = size**2
        seen = [pixel for pixel in range(length) if propagate(length, size, size, 2, pixel=pixel)[1][0] > 0]
        assert seen == list(range(n))


def test_homogeneous_filters_keep_the_sum_and_not_the_norm():
    """Erratum 7."""
    responses = propagate()
    norms = [np.square(f).sum() for f in responses]
    assert norms[0] == pytest.approx(1 / 3, rel=1e-14)
    assert norms[11] == pytest.approx(0.0990, abs=5e-5)
    assert all(f.sum() == pytest.approx(1, rel=1e-14) for f in responses)
    assert (responses[11] > 0).sum() == 25    # erratum 13: the support, not the width, is as wide as the scale


@pytest.mark.parametrize("size", [2, 3, 4, 5, 7])
def test_widths_of_homogeneous_filters(size):
    found = widths(layers(size, 1, 20, None, 1))
    np.testing.assert_allclose(found, [math.sqrt(k * (size**2 - 1) / 12) for k in range(1, 21)], rtol=1e-12)
    np.testing.assert_allclose(widths(layers(size, 1, 20, None, 2)), found, rtol=1e-12)


def test_widths_of_any_filters_add_variances():
    filters = random_filters(6, (4,), seed=3)
    variances = []
    for taps in filters:
        share = taps / taps.sum()
        variances.append(share @ np.arange(4) ** 2 - (share @ np.arange(4)) ** 2)
    np.testing.assert_allclose(widths(layers(1, 1, 6, filters, 1)), np.sqrt(np.cumsum(variances)), rtol=1e-12)
    anisotropic = [np.array([[1.0, 2, 1]])] * 4    # 1/2 a layer along the last axis, none along the first
    np.testing.assert_allclose(widths(layers(1, 1, 4, anisotropic, 2)), np.sqrt(np.arange(1, 5) / 4), rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_widths_of_filters_with_negative_taps_are_those_behind_relu(seed):
    filters = random_filters(4, (3,), seed, negative=True)
    found = widths(layers(1, 1, 4, filters, 1))
    for f, width in zip(propagate(31, depth=4, filters=filters, pixel=15), found, strict=True):
        if f.max() == 0:
            assert math.isnan(width)
            continue
        share = f / f.sum()
        mean = share @ np.arange(31)
        assert width == pytest.approx(math.sqrt(share @ (np.arange(31) - mean) ** 2), rel=1e-9, abs=1e-7)


def test_a_12_is_below_the_gap_and_reaches_it_at_layer_74():
    """Erratum 13, and erratum 9: the walk's length is 0.289 F √K at large F, 2.83 here."""
    found = widths(layers(3, 1, 80, None, 1))
    assert found[11] == pytest.approx(2.83, abs=5e-3)
    assert min(k for k, width in enumerate(found, 1) if width >= 7) == 74
    assert widths(layers(101, 1, 1, None, 1))[0] / 101 == pytest.approx(0.289, abs=5e-4)


def test_width_on_the_ring():
    table = predict(depth=400)
    np.testing.assert_allclose(table["A_ring"][:12], table["A"][:12], rtol=1e-12)    # nothing has come round yet
    assert table["A_ring"].iloc[-1] == pytest.approx(math.sqrt((32**2 + 2) / 12), rel=0.01)    # all of it
    assert table["A"].iloc[-1] > 16
    for pixel in range(5):    # wherever it is, also across the ends
        response = np.zeros(5)
        response[[pixel, (pixel + 1) % 5]] = 0.3, 0.1
        assert width_on_ring(response) == pytest.approx(math.sqrt(3) / 4, rel=1e-12)
    even = predict(filter_size=2, depth=20)
    np.testing.assert_allclose(even["A_ring"], even["A"], rtol=1e-9)    # follows its drift around the ring
    two = predict(2, 16, 4, depth=3, dim=2)
    np.testing.assert_allclose(two["A_ring"], two["A"], rtol=1e-12)


def test_tables_c2_and_c3_are_positive_up_to_where_erratum_14_has_it():
    positive = [min(taps) > 0 for taps in TABLE_C2]
    assert positive[:10] == [True] * 9 + [False]
    assert [min(taps) > 0 for taps in TABLE_C3] == [True] * 5 + [False] * 2
    for table, stride, length, dies in ((TABLE_C2, 1, 32, 10), (TABLE_C3, 2, 128, 6)):
        network_ = layers(1, stride, len(table), table, 1)
        assert network_.dies_at == dies
        responses = propagate(length, stride=stride, depth=len(table), filters=table)
        assert [f.max() > 0 for f in responses] == [k < dies for k in range(1, len(table) + 1)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pixel": 32}, r"pixel must be 1 whole number\(s\) in 0 .. length - 1 = 31; got 32"),
        ({"pixel": -1}, r"got -1"),
        ({"dim": 2, "pixel": 0}, r"pixel must be 2 whole number"),
        ({"dim": 3}, r"dim must be 1 or 2; got 3"),
        ({"length": 9, "filter_size": 2, "stride": 2}, r"layer 1 has 9 pixels a side.*stride 2"),
        ({"filters": [[[1]]], "depth": 1}, r"filters must be one filter with 1 axes"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        propagate(**arguments)
