"""Proposition 1: variances, drifts and distances which the errata state, and the printed formula term by term."""

import math

import numpy as np
import pytest

from poolscope.theory import gaussian_profile, propagate, proposition_1


def test_variances_per_step():
    """Erratum 1: printed / true 2/3 (F = 3), 1.067 (5), 1.286 (7), -> 2. Erratum 2: 0.333 for 0.25, 1.5 for 1.25."""
    odd = [(3, 4 / 9, 2 / 3), (5, 32 / 15, 2.0), (7, 36 / 7, 4.0)]
    for size, printed, true in [*odd, (2, 1 / 3, 1 / 4), (4, 1.5, 1.25)]:
        row = proposition_1(size, 3).iloc[-1]
        assert row["variance"] == pytest.approx(3 * true, rel=1e-12)
        assert row["variance_printed"] == pytest.approx(3 * printed, rel=1e-12)
    ratios = [proposition_1(size, 1)["variance_printed"][0] / ((size**2 - 1) / 12) for size in (3, 5, 7, 2001)]
    np.testing.assert_allclose(ratios, [2 / 3, 1.067, 1.286, 2], atol=5e-3)


def test_distances_at_twelve_layers():
    row = proposition_1(3, 12).iloc[-1]
    assert row["variance_printed"] == pytest.approx(5.33, abs=5e-3)
    assert row["variance"] == pytest.approx(8, rel=1e-12)
    assert row["distance_printed"] == pytest.approx(0.105, abs=5e-4)
    assert row["distance_true"] == pytest.approx(0.0074, abs=5e-5)
    assert row["mass_printed"] == pytest.approx(1, rel=1e-6)


def test_drifts_of_even_filters():
    """Erratum 2: 0.25 and 0.375 printed, 1/2 true, in the other direction with the code's windows."""
    for size, printed in ((2, 0.25), (4, 0.375)):
        table = proposition_1(size, 6)
        np.testing.assert_allclose(table["mean"], -table["k"] / 2, rtol=1e-12)
        np.testing.assert_allclose(table["mean_printed"], printed * table["k"], rtol=1e-12)
    odd = proposition_1(5, 6)
    np.testing.assert_allclose(odd[["mean", "mean_printed"]], 0, atol=1e-13)


def test_the_stray_factor_makes_a_density_that_integrates_to_its_root():
    assert proposition_1(2, 40)["mass_printed"].iloc[-1] == pytest.approx(math.sqrt(2), rel=1e-9)
    assert proposition_1(4, 40)["mass_printed"].iloc[-1] == pytest.approx(2, rel=1e-9)


def test_printed_formulas_term_by_term():
    a = np.arange(-9.0, 10)
    k, size = 4, 5
    d = (size - 1) ** 3 / (12 * size)
    expected = 1 / (2 * math.sqrt(math.pi) * math.sqrt(d) * math.sqrt(k)) * np.exp(-(a**2) / (4 * d * k))
    np.testing.assert_allclose(gaussian_profile(a, k, size, "printed"), expected, rtol=1e-13)
    size = 4
    d, v = (size**3 - 3 * size**2 + 6 * size - 4) / (12 * size), (1 - size) / (2 * size)
    expected = np.exp(-((v * k + a) ** 2) / (4 * d * size * k)) / (2 * math.sqrt(math.pi) * math.sqrt(d) * math.sqrt(k))
    np.testing.assert_allclose(gaussian_profile(a, k, size, "printed"), expected, rtol=1e-13)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_propagated_pixels_tend_to_the_true_gaussian_and_not_to_the_printed_one(size):
    table = proposition_1(size, 60)
    for k in (12, 60):
        length = 301
        response = propagate(length, size, depth=k, pixel=150)[k - 1]
        offsets = np.arange(length) - 150.0
        distance = np.abs(response - gaussian_profile(offsets, k, size)).sum() / 2
        assert distance == pytest.approx(table["distance_true"][k - 1], rel=1e-9)
        if size % 2:
            printed = np.abs(response - gaussian_profile(offsets, k, size, "printed")).sum() / 2
        else:    # (A.5)'s windows are the mirror image
            printed = np.abs(response[::-1] - gaussian_profile(offsets, k, size, "printed")).sum() / 2
        assert printed == pytest.approx(table["distance_printed"][k - 1], rel=1e-9)
    assert table["distance_true"][59] < 0.25 * table["distance_true"][11]    # as 1 / k
    assert table["distance_printed"][59] > 0.9 * table["distance_printed"][11] or size == 5


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"filter_size must be a whole number, 2 or more; got 1"):
        proposition_1(1)
    with pytest.raises(ValueError, match=r"depth must be a whole number, 1 or more; got 0"):
        gaussian_profile(np.zeros(1), 0)
