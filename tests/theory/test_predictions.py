"""The exact table against the definition in slow loops, closed forms and Monte Carlo."""

import math
import subprocess
import sys

import numpy as np
import pytest

from poolscope.theory import dilute, predict
from theory.oracle import (
    allowed_pairs,
    images,
    layer_matrix,
    matrices,
    measure,
    network,
    random_filters,
)
from theory.tables import TABLE_C2, TABLE_C2_INITIAL, TABLE_C3

# task, length, scale, gap, filter size, stride, depth, dim, boundary, norm
CASES = [
    (1, 9, 3, 0, 3, 1, 4, 1, "periodic", "euclidean"),
    (1, 9, 3, 1, 2, 1, 3, 1, "periodic", "euclidean"),
    (1, 12, 4, 2, 4, 1, 3, 1, "periodic", "euclidean"),
    (1, 10, 3, 1, 5, 1, 2, 1, "open", "euclidean"),
    (1, 9, 3, 1.5, 3, 3, 1, 1, "periodic", "euclidean"),
    (1, 12, 4, 2, 2, 2, 2, 1, "periodic", "euclidean"),
    (2, 16, 4, 0, 2, 2, 3, 1, None, "euclidean"),
    (2, 9, 3, 0, 3, 1, 3, 1, None, "euclidean"),
    (1, 7, 3, 0, 6, 1, 2, 1, "open", "euclidean"),    # windows overlap on both sides
    (1, 6, 2, 0.5, 3, 1, 2, 2, "open", "euclidean"),
    (1, 6, 2, 1, 2, 1, 2, 2, "periodic", "max"),
    (1, 5, 2, 0, 3, 1, 2, 2, "open", "max"),
    (1, 6, 2, 0, 2, 2, 1, 2, "periodic", "euclidean"),
    (2, 4, 2, 0, 2, 2, 1, 2, None, "euclidean"),
    (2, 4, 2, 0, 3, 1, 2, 2, None, "euclidean"),
]    # fmt: skip

MOVES = {1: ["left-right", "neighbour-or-stay"], 2: ["left-right", "neighbour-or-stay", "rounded-direction"]}
SETTINGS = [
    (*case, moves, kind) for case in CASES for moves in MOVES[case[7]] for kind in ("homogeneous", "random")
]    # fmt: skip

# Both sides sum some thousands of numbers of one sign; nothing cancels but E|f|² - |E f|², at most a few hundredfold.
CLOSE = {"rtol": 1e-11, "atol": 0}


def rectified_noise_power(layers: list[np.ndarray], variance: float) -> list[float]:
    """E|P max(0, η)|² from the dense covariance of max(0, η)."""
    size = layers[0].shape[1]
    second = variance * ((1 / 2 - 1 / (2 * math.pi)) * np.eye(size) + np.full((size, size), 1 / (2 * math.pi)))
    found, through = [], np.eye(size)
    for matrix in layers:
        through = matrix @ through
        found.append(np.trace(through @ second @ through.T))
    return found


@pytest.mark.parametrize(
    ("task", "length", "scale", "gap", "size", "stride", "depth", "dim", "boundary", "norm", "moves", "kind"), SETTINGS
)
def test_table_is_the_definition(
    task, length, scale, gap, size, stride, depth, dim, boundary, norm, moves, kind
):    # fmt: skip
    homogeneous = [np.full((size,) * dim, float(size) ** -dim)] * depth
    filters = homogeneous if kind == "homogeneous" else random_filters(depth, (size,) * dim, seed=length + size)
    table = predict(
        task, length, scale, gap if task == 1 else None, size, stride, depth, dim=dim, moves=moves, boundary=boundary,
        norm=norm, filters=None if kind == "homogeneous" else filters,
    )    # fmt: skip
    layers = matrices(filters, length, stride)
    pairs = allowed_pairs(task, length, scale, gap, dim, boundary or "periodic", norm)
    expected = measure(pairs, length, dim, layers, moves)

    np.testing.assert_allclose(table["D"], expected.shift / expected.spread, **CLOSE)
    rectified = np.array(rectified_noise_power(layers, expected.noise_variance))
    np.testing.assert_allclose(table["G_rectified"], rectified / expected.spread, **CLOSE)
    np.testing.assert_allclose(table["R"], expected.shift / rectified, **CLOSE)
    through, linear, single, shifted = np.eye(length**dim), [], [], []
    for matrix in layers:
        through = matrix @ through
        linear.append(expected.noise_variance * np.square(through).sum())
        single.append(np.square(through).sum(0).mean())
        columns = through.reshape(-1, *[length] * dim)
        along = [np.square(np.roll(columns, 1, axis) - columns).sum(0).mean() for axis in range(1, dim + 1)]
        shifted.append(np.mean(along))
    np.testing.assert_allclose(table["G_linear"], linear / expected.spread, **CLOSE)
    np.testing.assert_allclose(table["D_eq4"], np.array(shifted) / single, **CLOSE)
    # The single active pixel of equation (6) has an input's norm: |x|² = number of pixels.
    np.testing.assert_allclose(table["G_eq6"], rectified / (np.array(single) * length**dim), **CLOSE)
    assert (table["note"] == "").all()
    assert table["k"].tolist() == list(range(1, depth + 1))


def relu_noise_power_by_sampling(
    pairs: list, length: int, dim: int, layers: list[np.ndarray], variance: float, draws: int
) -> tuple[np.ndarray, np.ndarray]:
    """E|f_k(x + η) - f_k(x)|² with its standard error, plain noise: the network run as it is."""
    generator = np.random.default_rng(0)
    inputs = images(length, dim, pairs)
    clean = list(network(inputs, layers))
    changes = []
    for _ in range(20):
        chosen = generator.integers(len(pairs), size=draws // 20)
        noisy = inputs[chosen] + np.sqrt(variance) * generator.standard_normal((len(chosen), length**dim))
        changes.append([np.square(f - g[chosen]).sum(1) for f, g in zip(network(noisy, layers), clean, strict=True)])
    values = np.concatenate(changes, axis=1)
    return values.mean(1), values.std(1, ddof=1) / math.sqrt(values.shape[1])


@pytest.mark.parametrize(
    "case", [CASES[0], CASES[2], CASES[3], CASES[5], CASES[6], CASES[8], CASES[9], CASES[10], CASES[12]]
)
@pytest.mark.parametrize("kind", ["homogeneous", "random"])
def test_plain_noise_into_the_relu_network_by_monte_carlo(case, kind):
    task, length, scale, gap, size, stride, depth, dim, boundary, norm = case
    homogeneous = [np.full((size,) * dim, float(size) ** -dim)] * depth
    filters = homogeneous if kind == "homogeneous" else random_filters(depth, (size,) * dim, seed=length)
    table = predict(
        task, length, scale, gap, size, stride, depth, filters=filters, dim=dim, boundary=boundary, norm=norm
    )    # fmt: skip
    layers = matrices(filters, length, stride)
    pairs = allowed_pairs(task, length, scale, gap, dim, boundary or "periodic", norm)
    expected = measure(pairs, length, dim, layers)
    power, error = relu_noise_power_by_sampling(pairs, length, dim, layers, expected.noise_variance, 40_000)
    assert (error < 0.01 * power).all(), "too coarse to judge"
    deviations = (table["G_relu"].to_numpy() * expected.spread - power) / error
    assert np.abs(deviations).max() < 4, f"off by {deviations} standard errors"


def test_monte_carlo_of_section_4s_network_on_task_1():
    layers = matrices([np.full(3, 1 / 3)] * 12, 32, 1)
    pairs = allowed_pairs(1, 32, 11, 4)
    table = predict()
    expected = measure(pairs, 32, 1, layers)
    np.testing.assert_allclose(table["D"], expected.shift / expected.spread, **CLOSE)
    power, error = relu_noise_power_by_sampling(pairs, 32, 1, layers, expected.noise_variance, 100_000)
    assert (error < 0.004 * power).all()
    assert (np.abs(table["G_relu"] * expected.spread - power) < 4 * error).all()


def test_rectified_noise_by_monte_carlo_and_into_a_linear_network_as_well():
    """Erratum 25: noise that is rectified before it is added gives a linear network the ReLU network's G exactly."""
    layers = matrices([np.full(3, 1 / 3)] * 12, 32, 1)
    pairs = allowed_pairs(1, 32, 11, 4)
    inputs = images(32, 1, pairs)
    measured = measure(pairs, 32, 1, layers)
    generator = np.random.default_rng(0)
    noisy = inputs[generator.integers(len(pairs), size=40_000)]
    noise = np.maximum(np.sqrt(measured.noise_variance) * generator.standard_normal(noisy.shape), 0)
    found = []
    for relu in (True, False):
        changes = [
            np.square(f - g).sum(1)
            for f, g in zip(network(noisy + noise, layers, relu), network(noisy, layers, relu), strict=True)
        ]
        found.append([change.mean() for change in changes])
        errors = np.array([change.std() / 200 for change in changes])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)
    power = predict()["G_rectified"] * measured.spread
    assert (errors < 0.01 * power).all()
    assert (np.abs(found[0] - power) < 4 * errors).all()


def test_closed_form_of_task_2():
    for length, filter_size, depth in ((128, 2, 6), (81, 3, 3), (10_000, 10, 3)):
        table = predict(2, length, 3, None, filter_size, filter_size, depth)
        n = float(filter_size) ** table["k"]
        expected = length * (2 * length - 3) / (2 * n * (length - 2) * (length - n))
        np.testing.assert_allclose(table["D"], expected, rtol=1e-12)
        assert table["A"].tolist() == n.tolist()


@pytest.mark.parametrize(
    ("length", "size", "depth", "dim"), [(128, 2, 7, 1), (81, 3, 4, 1), (625, 5, 4, 1), (8, 2, 3, 2)]
)
def test_one_pixel_left_is_nan_with_a_note(length, size, depth, dim):
    table = predict(2, length, 4, None, size, size, depth, dim=dim)
    last = table.iloc[-1]
    assert last[["D", "G_rectified", "G_relu", "G_linear", "R"]].isna().all()
    assert "spread is 0" in last["note"]
    assert table.iloc[:-1][["D", "G_rectified", "G_relu", "G_linear", "R"]].notna().all(axis=None)


def test_one_window_of_all_pixels_is_nan():
    assert predict(length=7, scale=2, gap=0, filter_size=7, depth=2)["D"].isna().all()


def test_very_deep_networks_keep_full_precision():
    """What is left of a ring at last is its slowest mode alone."""
    table = predict(filter_size=7, depth=350)
    assert (table["note"] == "").all()
    slowest = 2 * math.pi / 32
    separations = np.arange(1, 32)
    near = np.minimum(separations, 32 - separations)
    chosen = separations[(near < 9) | (near > 13)]
    correlation = np.cos(slowest * chosen).mean()
    lost = 1 - math.cos(slowest)
    expected = lost * (2 + correlation * lost) / (2 + 2 * correlation)
    assert table["D"].iloc[-1] == pytest.approx(expected, rel=1e-9)
    # In the end nothing but rounding is left, and no number is made of it.
    last = predict(filter_size=7, depth=700).iloc[-1]
    assert math.isnan(last["D"])
    assert "spread is 0" in last["note"]


def test_scale_of_filters_and_the_scale_of_task_2_drop_out():
    columns = ["A", "D", "G_rectified", "G_relu", "G_linear", "R", "A_ring", "D_eq4", "G_eq6"]
    filters = random_filters(5, (3,), seed=1)
    scaled = [taps * factor for taps, factor in zip(filters, (1e-3, 7, 1e4, 0.2, 30), strict=True)]
    one, other = predict(depth=5, filters=filters), predict(depth=5, filters=scaled)
    np.testing.assert_allclose(one[columns], other[columns], rtol=1e-10)
    small, large = (predict(2, 64, scale, filter_size=2, stride=2, depth=5) for scale in (4, 32))
    assert small.equals(large)


def test_the_contract():
    table = predict(task=1, length=32, scale=11, gap=4, filter_size=3, stride=1, depth=12)
    assert list(table)[:7] == ["k", "A", "D", "G_rectified", "G_relu", "G_linear", "R"]
    assert table.equals(predict())
    np.testing.assert_allclose(table["R"], table["D"] / table["G_rectified"], rtol=1e-14)
    # The two ends of the table, worked out independently (enumeration of all pairs and all displacements).
    assert table["D"].iloc[0] == pytest.approx(0.358, abs=5e-4)
    assert table["G_rectified"].iloc[-1] == pytest.approx(2.389, abs=5e-4)
    assert table["G_relu"].iloc[-1] == pytest.approx(0.977, abs=5e-4)


def test_noise_which_the_network_leaves_as_it_is_has_the_displacements_power():
    table = predict(filters=[1.0], depth=3)
    np.testing.assert_allclose(table["D"] / table["G_linear"], 1, rtol=1e-13)
    np.testing.assert_allclose(table["G_rectified"], table["G_linear"] / 2, rtol=1e-13)
    np.testing.assert_allclose(table["D"] / predict(filters=[2.0], depth=3)["G_linear"], 1, rtol=1e-13)


def test_large_images_are_quick_and_near_the_dilute_limit():
    for dim, length, depth in ((1, 10_000, 8), (2, 64, 3)):
        table = predict(2, length, 5, depth=depth, dim=dim)
        limit = dilute(3, 1, depth, dim=dim)
        for column in ("D", "G_rectified", "G_relu", "G_linear", "R"):
            # A second pixel is within reach with probability 33 / 10000 at most, and 13² / 64².
            np.testing.assert_allclose(table[column], limit[column], rtol=0.0035 if dim == 1 else 0.04)


LEARNED = [
    (1, 9, 3, 1, 3, 1, 4, 1), (1, 12, 4, 2, 2, 2, 2, 1), (2, 8, 4, 0, 2, 2, 3, 1), (1, 5, 2, 0, 2, 1, 2, 2),
    (1, 10, 3, 1, 4, 1, 3, 1),
]    # fmt: skip


@pytest.mark.parametrize(("task", "length", "scale", "gap", "size", "stride", "depth", "dim"), LEARNED)
@pytest.mark.parametrize("seed", range(4))
def test_filters_of_mixed_signs_by_the_definition(task, length, scale, gap, size, stride, depth, dim, seed):
    filters = random_filters(depth, (size,) * dim, seed, negative=True)
    boundary = None if task == 2 else "periodic"
    table = predict(task, length, scale, gap, stride=stride, depth=depth, filters=filters, dim=dim, boundary=boundary)
    layers = matrices(filters, length, stride)
    expected = measure(allowed_pairs(task, length, scale, gap, dim), length, dim, layers)
    alive = expected.spread > 1e-12
    with np.errstate(invalid="ignore"):
        shares = np.where(alive, expected.shift / expected.spread, np.nan)
    np.testing.assert_allclose(table["D"], shares, rtol=1e-9)
    mixed = np.array([any((taps < 0).any() for taps in filters[: k + 1]) for k in range(depth)])
    assert table["R"].isna().to_numpy().tolist() == (mixed | ~alive).tolist()
    assert (table["note"] != "").to_numpy().tolist() == (mixed | ~alive).tolist()
    through, linear = np.eye(length**dim), []
    for matrix in layers:
        through = matrix @ through
        linear.append(expected.noise_variance * np.square(through).sum())
    died = table["note"].str.contains("from layer").to_numpy()
    np.testing.assert_allclose(table["G_linear"][~died], (linear / expected.spread_linear)[~died], rtol=1e-9)


def test_table_c2_up_to_the_layer_at_which_the_averaged_signal_dies():
    table = predict(filters=TABLE_C2)
    assert table["A"].iloc[7] == pytest.approx(2.378, abs=5e-4)    # erratum 14; 2.309 if homogeneous
    assert table["D"].notna().tolist() == [True] * 9 + [False] * 3    # errata 14 and 28
    assert table["note"].iloc[9].startswith("the signal is 0 from layer 10 on")
    layers = matrices([np.array(taps) for taps in TABLE_C2], 32, 1)
    expected = measure(allowed_pairs(1, 32, 11, 4), 32, 1, layers)
    np.testing.assert_allclose(table["D"][:9], (expected.shift / np.maximum(expected.spread, 1e-300))[:9], rtol=1e-11)
    assert (expected.spread[9:] == 0).all()


def test_table_c2_at_initialisation_by_the_definition():
    table = predict(filters=TABLE_C2_INITIAL)
    layers = matrices([np.array(taps) for taps in TABLE_C2_INITIAL], 32, 1)
    expected = measure(allowed_pairs(1, 32, 11, 4), 32, 1, layers)
    np.testing.assert_allclose(table["D"], expected.shift / expected.spread, rtol=1e-9)
    assert TABLE_C2_INITIAL[7] == TABLE_C2_INITIAL[8]    # erratum 14


def test_table_c3_up_to_the_layer_at_which_the_averaged_signal_dies():
    table = predict(2, 128, 32, stride=2, depth=7, filters=TABLE_C3)
    assert table["D"].notna().tolist() == [True] * 5 + [False] * 2    # errata 14 and 28
    assert table["note"].iloc[5].startswith("the signal is 0 from layer 6 on")
    assert max(TABLE_C3[4]) / min(TABLE_C3[4]) == pytest.approx(2.14, abs=5e-3)
    pairs = allowed_pairs(2, 128, 32, 0)
    still = images(128, 1, pairs)
    layers = matrices([np.array(taps) for taps in TABLE_C3], 128, 2)
    for k, f in enumerate(network(still, layers)):
        if k < 5:
            spread = 2 * np.square(f - f.mean(0)).sum(1).mean()
            moves = [(s, t) for s in (-1, 1) for t in (-1, 1)]
            shift = 0.0
            for s, t in moves:
                moved = images(128, 1, pairs, ((s,), (t,)))
                shift += np.square(list(network(moved, layers))[k] - f).sum(1).mean() / 4
            assert table["D"].iloc[k] == pytest.approx(shift / spread, rel=1e-10)
        else:
            assert (f == 0).all()


def test_open_distances_with_mixed_signs_say_that_there_is_no_number():
    filters = [[1, -0.2, 1], [1, 1, 1]]
    table = predict(1, 10, 3, 0, depth=2, filters=filters, boundary="open")
    assert table["D"].isna().all()
    assert table["note"].str.contains("open distances").all()


def test_a_signal_that_dies_at_a_filter_of_mixed_signs():
    table = predict(2, 4, 2, depth=3, filters=[[1, 1, 1, 1], [1, -2, 0], [1, 1, 1]])
    assert table["D"].isna().all()
    assert "the spread is 0" in table["note"].iloc[0]    # one window saw the whole ring
    assert table["note"].iloc[1:].str.contains("ReLU leaves nothing").all()    # 1 - 2 < 0 everywhere


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": 3}, r"task must be one of 1, 2; got 3"),
        ({"task": 2, "gap": 4}, r"task 2 goes by patches.*gap=4"),
        ({"task": 2, "boundary": "periodic"}, r"task 2 goes by patches.*boundary=periodic"),
        ({"task": 2, "scale": 32}, r"both classes must occur; patches of scale 32 in length 32"),
        ({"length": 2}, r"length must be a whole number of pixels, 3 or more; got 2"),
        ({"scale": 0}, r"scale must be a whole number of pixels, 1 or more; got 0"),
        ({"scale": 20}, r"both classes must occur; scale 20 and gap 4 leave no far pairs"),
        ({"scale": 2}, r"both classes must occur; scale 2 and gap 4 leave no near pairs"),
        ({"gap": -1}, r"gap must be a finite number of pixels, not negative; got -1"),
        ({"gap": math.nan}, r"gap must be a finite number"),
        ({"filter_size": 0}, r"filter_size must be a whole number, 1 or more; got 0"),
        ({"depth": 0}, r"depth must be a whole number, 1 or more; got 0"),
        ({"depth": True}, r"depth must be a whole number.*got True"),
        ({"stride": 2}, r"stride must be 1 or the filter size 3.*got 2"),
        ({"filter_size": 33}, r"layer 1 has 32 pixels a side, a filter of 33"),
        ({"filter_size": 2, "stride": 2, "depth": 6}, r"depth must be at most 5 \(length 32\)"),
        ({"filter_size": 3, "stride": 3}, r"depth must be at most 0 \(length 32\)"),
        ({"dim": 3}, r"dim must be one of 1, 2; got 3"),
        ({"norm": "max"}, r"norm is a choice of two dimensions; got 'max' in one"),
        ({"moves": "rounded-direction"}, r"moves must be left-right or neighbour-or-stay"),
        ({"dim": 2, "filter_size": 2, "stride": 2, "depth": 1}, r"needs boundary='periodic'.*stride=2"),
        ({"filters": [[1, 1, 1]] * 3}, r"one for each layer up to depth 12; got 3"),
        ({"filters": []}, r"filters must be one filter with 1 axes for each layer"),
        ({"filters": [[[1, 1]]] * 12}, r"got 12 with \[2\]"),
        ({"filters": [[1, math.inf]] * 12}, r"finite numbers.*at layer 1"),
        ({"filters": [[1, 1]] + [[]] * 11}, r"one or more a layer; got \[\] at layer 2"),
        ({"filters": [["a", 1]] * 12}, r"filters must be arrays of numbers"),
        ({"filters": [[1, 1]] * 12, "stride": 3}, r"stride must be 1 or the size of every filter.*got 3"),
    ],
)    # fmt: skip
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        predict(**arguments)


def test_words_that_there_are_not():
    """In a process of its own, in which annotations are not checked."""
    code = """
from poolscope.theory import gaussian_profile, predict
for arguments in ({"boundary": "closed"}, {"norm": "l1"}, {"moves": "up"}):
    try:
        predict(**arguments)
    except ValueError as reason:
        print(reason)
try:
    gaussian_profile(0.0, 1, constants="best")
except ValueError as reason:
    print(reason)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == [
        "boundary must be one of None, periodic, open; got 'closed'",
        "norm must be one of euclidean, max; got 'l1'",
        "moves must be one of left-right, neighbour-or-stay, rounded-direction; got 'up'",
        "constants must be one of true, printed; got 'best'",
    ]


def test_layer_matrix_of_the_oracle_by_hand():
    np.testing.assert_array_equal(layer_matrix(np.array([1.0, 2]), 4, 2), [[1, 2, 0, 0], [0, 0, 1, 2]])
    expected = [[1, 2, 0], [0, 1, 2], [2, 0, 1]]    # an even window: none to the left, one to the right
    np.testing.assert_array_equal(layer_matrix(np.array([1.0, 2]), 3, 1), expected)
    expected = [[2, 3, 0, 1], [1, 2, 3, 0], [0, 1, 2, 3], [3, 0, 1, 2]]
    np.testing.assert_array_equal(layer_matrix(np.array([1.0, 2, 3]), 4, 1), expected)
