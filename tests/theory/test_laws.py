"""Laws and their constants against the dilute limit, and every depth and ratio known from independent enumeration."""

import math

import numpy as np
import pytest

from poolscope.theory import depths_within, dilute, holds_from, laws, predict, ratios_to_laws


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_constants_at_stride_1(dim, size):
    ratios = ratios_to_laws(dilute(size, 1, 2000, dim=dim), laws(size, 1, 2000, dim=dim)).iloc[-1]
    field = math.sqrt(2000 * (size**2 - 1) / 12)
    floor = (1 / 2 - 1 / (2 * math.pi)) / laws(size, 1, 2000, dim=dim)["G"].iloc[-1]
    assert ratios["D"] == pytest.approx(1, abs=2 / field**2)    # corrections of relative order 1 / A²
    assert ratios["G"] == pytest.approx(1 + floor, abs=2 / field**2)
    assert ratios["R"] == pytest.approx(1 / (1 + floor), abs=4 / field**2)
    relu = dilute(size, 1, 2000, dim=dim)["G_relu"].iloc[-1] / laws(size, 1, 2000, dim=dim)["G_relu"].iloc[-1]
    assert relu == pytest.approx(1, abs=size**dim * floor + 2 / field**2)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_constants_at_stride_f(dim):
    exact, law = dilute(3, 3, 12, dim=dim), laws(3, 3, 12, dim=dim)
    ratios = ratios_to_laws(exact, law)
    np.testing.assert_allclose(ratios["D"], 1, rtol=1e-13)    # an equality
    np.testing.assert_allclose(ratios["G"].iloc[-1], 1, rtol=1e-5)
    np.testing.assert_allclose(ratios["R"].iloc[-1], 1, rtol=1e-5)
    np.testing.assert_allclose((exact["G_relu"] / law["G_relu"]).iloc[-1], 1, rtol=1e-4)


def test_laws_in_one_and_two_dimensions_by_hand():
    law = laws(3, 1, 6)
    field = np.sqrt(np.arange(1, 7) * 2 / 3)
    assert list(law) == ["k", "A", "D", "G", "R", "G_relu"]
    np.testing.assert_allclose(law["A"], field, rtol=1e-14)
    np.testing.assert_allclose(law["D"], field**-2 / 4, rtol=1e-14)
    np.testing.assert_allclose(law["G"], field / math.sqrt(math.pi), rtol=1e-14)
    np.testing.assert_allclose(law["R"], math.sqrt(math.pi) / 4 * field**-3, rtol=1e-14)
    np.testing.assert_allclose(law["G_relu"], law["G"] / 3, rtol=1e-14)
    plane = laws(3, 1, 6, dim=2)
    np.testing.assert_allclose(plane["G"], 2 * field**2, rtol=1e-14)
    np.testing.assert_allclose(plane["R"], field**-4 / 8, rtol=1e-14)
    merged = laws(2, 2, 5, dim=1)
    np.testing.assert_allclose(merged["R"], 2 * math.pi / 4.0 ** np.arange(1, 6), rtol=1e-14)


def test_g_is_affine_in_a():
    """Erratum 10: G -> A / √π + 0.341."""
    table = dilute(3, 1, 1000)
    assert (table["G_rectified"] - table["A"] / math.sqrt(math.pi)).iloc[-1] == pytest.approx(0.341, abs=1.5e-2)
    # At A = 26 the next term, of order 1 / A, is left: it falls with depth.
    rest = table["G_rectified"] - table["A"] / math.sqrt(math.pi) - (1 / 2 - 1 / (2 * math.pi))
    assert abs(rest.iloc[-1] / rest.iloc[249]) == pytest.approx(1 / 2, rel=0.01)


def test_two_dimensions_have_other_exponents():
    """Erratum 26: F = 3, k = 20 .. 60 give -1.97, 1.97, -3.94; D ~ A^-1, G ~ A², R ~ A^-3 at stride F."""
    table = dilute(3, 1, 60, dim=2).iloc[19:]
    slopes = [np.polyfit(np.log(table["A"]), np.log(table[name]), 1)[0] for name in ("D", "G_rectified", "R")]
    np.testing.assert_allclose(slopes, [-1.97, 1.97, -3.94], atol=5e-3)
    table = dilute(2, 2, 12, dim=2).iloc[5:]
    slopes = [np.polyfit(np.log(table["A"]), np.log(table[name]), 1)[0] for name in ("D", "G_rectified", "R")]
    np.testing.assert_allclose(slopes, [-1, 2, -3], atol=1e-3)


@pytest.mark.parametrize(
    ("size", "stride", "expected"),
    [
        (3, 1, {"D": 6, "G": 57, "R": 57}),
        (5, 1, {"D": 4, "G": 20, "R": 24}),
        (7, 1, {"D": 2, "G": 11, "R": 15}),
        (2, 2, {"D": 1, "G": 5, "R": 5}),
    ],
)
def test_depth_from_which_laws_hold_to_ten_percent(size, stride, expected):
    assert holds_from(size, stride) == expected


def test_depth_from_which_laws_hold_is_the_last_unbroken_run():
    assert holds_from(3, depth=30) == {"D": 6, "G": None, "R": None}
    assert holds_from(3, depth=57) == {"D": 6, "G": 57, "R": 57}
    assert holds_from(3, tolerance=1e-9)["D"] is None
    assert holds_from(3, tolerance=10.0) == {"D": 1, "G": 1, "R": 1}
    assert holds_from(3, 3, dim=2) == {"D": 1, "G": 2, "R": 2}    # 81 / 2π against 0.341


def test_task_1_on_its_ring():
    ratios = ratios_to_laws(predict(), laws())
    assert depths_within(ratios) == {"D": [1, 2, 3, 4, 5, 6], "G": [], "R": []}
    assert ratios["D"].iloc[-1] == pytest.approx(1.21, abs=5e-3)
    assert ratios["G"].min() == pytest.approx(1.48, abs=1e-2)
    assert ratios["G"].max() == pytest.approx(1.89, abs=5e-3)
    assert ratios["R"].min() == pytest.approx(0.51, abs=5e-3)
    assert ratios["R"].max() == pytest.approx(0.81, abs=5e-3)


def test_task_2_on_its_ring():
    exact = predict(2, 128, 32, filter_size=2, stride=2, depth=7)
    ratios = ratios_to_laws(exact, laws(2, 2, 7))
    assert depths_within(ratios) == {"D": [1, 2, 3], "G": [], "R": [5, 6]}
    assert ratios["D"].iloc[5] == pytest.approx(2.01, abs=5e-3)
    assert ratios["G"].min() == pytest.approx(1.30, abs=5e-3)
    assert ratios["G"].max() == pytest.approx(2.11, abs=5e-3)
    assert ratios.iloc[6][["D", "G", "R"]].isna().all()    # one pixel left


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"same layers k; got 1 .. 12 in exact values and 1 .. 5 in laws"):
        ratios_to_laws(predict(), laws(depth=5))
    with pytest.raises(ValueError, match=r"tolerance must be positive.*got 0"):
        depths_within(ratios_to_laws(predict(), laws()), 0.0)
    with pytest.raises(ValueError, match=r"tolerance must be positive.*got -0.1"):
        holds_from(tolerance=-0.1)
    with pytest.raises(ValueError, match=r"filter_size must be a whole number, 2 or more; got 1"):
        laws(1)
