"""Numbers of section 4 that the paper's own equations do not give: each is computed here from `predict`."""

import numpy as np
import pytest

from poolscope.theory import dilute, predict
from theory.oracle import allowed_pairs, images, matrices, network


def balanced(length: int, scale: int, size: int, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """D of task 2 over all pairs, and with both classes equally likely, by enumeration."""
    pairs = allowed_pairs(2, length, scale, 0)
    same = np.array([a // scale == b // scale for (a,), (b,) in pairs])
    layers = matrices([np.full(size, 1 / size)] * depth, length, size)
    x = images(length, 1, pairs)
    moved = [images(length, 1, pairs, ((s,), (t,))) for s in (-1, 1) for t in (-1, 1)]
    uniform, even = np.full(len(pairs), 1 / len(pairs)), np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    clean = list(network(x, layers))
    shift = np.zeros((depth, len(pairs)))
    for images_ in moved:
        for k, f in enumerate(network(images_, layers)):
            shift[k] += np.square(f - clean[k]).sum(1) / 4
    found = []
    for weights in (uniform, even):
        spread = [2 * (weights @ np.square(f).sum(1) - np.square(weights @ f).sum()) for f in clean]
        found.append(shift @ weights / spread)
    return found[0], found[1]


def test_6_displacement_powers_and_their_small_effect_on_r():
    sizes = {}
    for moves in ("left-right", "neighbour-or-stay"):
        # A network that changes nothing, rectified noise of half the power, |δ|² = 32 for the single pixel.
        sizes[moves] = 2 * predict(filters=[1.0], depth=1, moves=moves)["G_eq6"][0]
    assert sizes["left-right"] == pytest.approx(1.929, abs=5e-4)
    assert sizes["neighbour-or-stay"] == pytest.approx(1.302, abs=5e-4)
    fourth, third = predict(), predict(moves="neighbour-or-stay")
    assert fourth["D"][0] == pytest.approx(0.358, abs=5e-4)
    assert third["D"][0] == pytest.approx(0.241, abs=5e-4)
    assert (third["R"] / fourth["R"] - 1).abs().max() < 0.012


def test_8_equation_4_is_about_twice_definition_1():
    table = predict()
    ratios = (table["D_eq4"] / table["D"]).to_numpy()
    assert ratios[[0, -1]] == pytest.approx([1.86, 1.58], abs=5e-3)
    large = predict(2, 4000, 5, depth=4)
    np.testing.assert_allclose(large["D_eq4"] / large["D"], 2, rtol=0.01)
    np.testing.assert_allclose(large["G_eq6"] / large["G_rectified"], 2, rtol=0.01)


def test_9_the_denominator_also_loses_the_mean():
    table = predict()
    assert table["G_linear"].iloc[[0, -1]].tolist() == pytest.approx([1.06, 1.23], abs=5e-3)
    merged = predict(2, 128, 32, filter_size=2, stride=2, depth=7)
    n = 2.0 ** np.arange(1, 7)
    np.testing.assert_allclose(merged["G_linear"][:6], 1 / (1 - n / 128), rtol=5e-3)
    assert merged["G_linear"][5] == pytest.approx(2, rel=5e-3)
    assert np.isnan(merged["G_linear"][6])


def test_10_the_numerator_of_equation_6_falls_by_29_percent():
    table = predict()
    layers = matrices([np.full(3, 1 / 3)] * 12, 32, 1)
    single = [np.square(f).sum() for f in network(np.eye(32)[0], layers)]
    numerators = table["G_eq6"] * single * 32    # |δ|² = 32
    assert numerators.iloc[[0, -1]].tolist() == pytest.approx([16.83, 11.90], abs=5e-3)
    assert 1 - numerators.iloc[-1] / numerators.iloc[0] == pytest.approx(0.29, abs=5e-3)


def test_11_noise_is_averaged_before_it_is_rectified():
    table = predict()
    assert table[["G_relu", "G_rectified"]].iloc[-1].tolist() == pytest.approx([0.977, 2.389], abs=5e-4)
    for size in (2, 3, 5):    # asymptotically F times smaller
        last = dilute(size, 1, 3000).iloc[-1]
        assert last["G_rectified"] / last["G_relu"] == pytest.approx(size, rel=0.06)
    plane = dilute(2, 1, 3000, dim=2).iloc[-1]
    assert plane["G_rectified"] / plane["G_relu"] == pytest.approx(4, rel=0.01)


def test_12_task_2_with_both_classes_equally_likely():
    """Where no pixel is put back: 0.031 and 0.0234, beside the uniform pairs of `predict`."""
    uniform, even = balanced(128, 32, 2, 6)
    np.testing.assert_allclose(predict(2, 128, 32, filter_size=2, stride=2, depth=6)["D"], uniform, rtol=1e-11)
    assert even[4] == pytest.approx(0.031, abs=5e-4)
    assert even[5] == pytest.approx(0.0234, abs=5e-5)


def test_slopes_on_rings_of_32_and_256_pixels():
    """Against k, k = 4 .. 12, all pairs: asymptotically -1 and 1/2."""
    for length, expected in ((32, (0.54, 0.35)), (256, (0.40, 0.28))):
        table = predict(2, length, 8).iloc[3:]
        for column, slope in zip(("G_rectified", "G_relu"), expected, strict=True):
            assert np.polyfit(np.log(table["k"]), np.log(table[column]), 1)[0] == pytest.approx(slope, abs=6e-3)
