"""D and G before training: known values, plain enumeration, and wide networks that are run."""

import math

import numpy as np
import pytest

from poolscope.theory import initial, predict
from poolscope.theory.kernel import kernels
from theory.oracle import allowed_pairs, images, measure
from theory.test_kernel import run


def test_section_4s_network_is_not_constant_at_initialisation():
    """Erratum 15."""
    table = initial()
    assert table["D"].iloc[[0, -1]].tolist() == pytest.approx([0.92, 0.63], abs=5e-3)
    assert table["G_rectified"].iloc[[0, -1]].tolist() == pytest.approx([0.53, 0.73], abs=1e-2)
    assert (table["G_rectified_se"] < 0.01 * table["G_rectified"]).all()
    assert (table["G_relu_se"] < 0.01 * table["G_relu"]).all()
    assert table["cosine"].iloc[[0, -1]].tolist() == pytest.approx([0.60, 0.93], abs=5e-3)
    without = initial(bias_variance=0)
    assert without["D"].iloc[[0, -1]].tolist() == pytest.approx([0.84, 0.24], abs=5e-3)
    assert without["cosine"].iloc[[0, -1]].tolist() == pytest.approx([0.10, 0.49], abs=5e-3)
    np.testing.assert_array_equal(table["R"], table["D"] / table["G_rectified"])


CASES = [
    (1, 9, 3, 1, 3, 1, 3, False),
    (1, 8, 2, 0, 2, 1, 2, True),
    (1, 12, 4, 2, 2, 2, 2, False),
    (2, 8, 4, 0, 2, 2, 3, False),
    (2, 9, 3, 0, 3, 3, 1, False),
]


@pytest.mark.parametrize(("task", "length", "scale", "gap", "size", "stride", "depth", "pooled"), CASES)
@pytest.mark.parametrize("bias", [0.0, 1.0])
def test_all_inputs_and_moves(task, length, scale, gap, size, stride, depth, pooled, bias):
    table = initial(
        task, length, scale, gap, size, stride, depth, bias_variance=bias, pooled=pooled, draws=20_000, seed=1
    )
    pairs = allowed_pairs(task, length, scale, gap)
    settings = {"filter_size": size, "stride": stride, "depth": depth, "bias_variance": bias, "every_distance": pooled}

    def product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        every = list(kernels(x, y, **settings))
        return np.stack([k.mean((-2, -1)) if pooled else k[..., 0].sum(-1) for k in every])

    x = images(length, 1, pairs)
    own = product(x, x)
    spread = 2 * (own.mean(1) - product(x[:, None], x[None]).mean((1, 2)))
    shift = np.zeros(depth)
    for s in (-1, 1):
        for t in (-1, 1):
            moved = images(length, 1, pairs, ((s,), (t,)))
            shift += (own + product(moved, moved) - 2 * product(x, moved)).mean(1) / 4
    np.testing.assert_allclose(table["D"], shift / spread, rtol=1e-10)
    np.testing.assert_allclose(
        table["cosine"], product(x[:, None], x[None]).mean((1, 2)) / own.mean(1), rtol=1e-10
    )
    # Noise of other draws, every input in turn.
    variance = measure(pairs, length, 1, [np.eye(length)]).noise_variance
    generator = np.random.default_rng(7)
    inputs = np.tile(x, (1 + 20_000 // len(x), 1))
    noise = math.sqrt(variance) * generator.standard_normal(inputs.shape)
    for column, added in (("G_rectified", np.maximum(noise, 0)), ("G_relu", noise)):
        noisy = inputs + added
        change = product(inputs, inputs) + product(noisy, noisy) - 2 * product(inputs, noisy)
        error = change.std(1) / math.sqrt(len(inputs)) / spread
        both = np.hypot(error, table[f"{column}_se"])
        assert (np.abs(table[column] - change.mean(1) / spread) < 4 * both).all()
        np.testing.assert_allclose(table[f"{column}_se"], error, rtol=0.1)


def test_wide_networks_drawn_and_run():
    """The definition with channels: 150 of them, 40 networks, all inputs and moves of a small ring."""
    length, depth = 9, 3
    pairs = allowed_pairs(1, length, 3, 1)
    table = initial(1, length, 3, 1, 3, 1, depth, draws=100)
    x = images(length, 1, pairs)
    moved = [images(length, 1, pairs, ((s,), (t,))) for s in (-1, 1) for t in (-1, 1)]
    generator = np.random.default_rng(0)
    found = []
    for _ in range(40):
        f = run(np.concatenate([x, *moved]), 3, 1, depth, 1.0, 150, generator)
        row = []
        for layer in f:
            clean, *others = layer.reshape(5, len(pairs), -1)
            shift = np.mean([np.square(each - clean).sum(1).mean() for each in others])
            row.append(shift / (2 * np.square(clean - clean.mean(0)).sum(1).mean()))
        found.append(row)
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / math.sqrt(40)
    assert (error < 0.015 * mean).all()
    assert (np.abs(mean - table["D"]) < 4 * error).all()


def test_draws_repeat_with_their_seed_and_leave_global_state_alone():
    before = np.random.get_state()[1].copy()    # noqa: NPY002
    one = initial(depth=2, draws=50, seed=3)
    assert one.equals(initial(depth=2, draws=50, seed=3))
    assert not one.equals(initial(depth=2, draws=50, seed=4))
    assert (np.random.get_state()[1] == before).all()    # noqa: NPY002


def test_the_gap_is_predicts_gap():
    assert initial(depth=1, draws=50)["D"][0] == initial(depth=1, draws=50, gap=4)["D"][0]
    assert predict(depth=1)["D"][0] == predict(depth=1, gap=4)["D"][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bias_variance": -1.0}, r"bias_variance must be finite and not negative; got -1"),
        ({"bias_variance": math.inf}, r"bias_variance must be finite"),
        ({"draws": 1}, r"draws must be a whole number, 2 or more, for a standard error; got 1"),
        ({"filter_size": 2, "stride": 2, "depth": 2, "pooled": True}, r"pooled needs stride 1.*got 2"),
        ({"task": 2, "gap": 4}, r"task 2 goes by patches"),
        ({"filter_size": 3, "stride": 3}, r"depth must be at most 0"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        initial(**arguments)
