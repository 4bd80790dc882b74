"""Distributions of separations against listed pairs: of our own loops, and of the tasks themselves."""

import numpy as np
import pytest

from poolscope.tasks import ScaleDetection
from poolscope.theory.separations import separations
from theory.oracle import allowed_pairs, images

CASES = [
    (1, 32, 11, 4, 1, "periodic", "euclidean"),
    (1, 11, 3, 1.5, 1, "open", "euclidean"),
    (2, 12, 4, 0, 1, None, "euclidean"),
    (1, 7, 2, 1, 2, "open", "euclidean"),
    (1, 6, 2, 0, 2, "periodic", "euclidean"),
    (1, 7, 3, 1, 2, "open", "max"),
    (1, 6, 2, 1, 2, "periodic", "max"),
    (2, 4, 2, 0, 2, None, "euclidean"),
]


@pytest.mark.parametrize(("task", "length", "scale", "gap", "dim", "boundary", "norm"), CASES)
def test_listed_pairs(task, length, scale, gap, dim, boundary, norm):
    found = separations(task, length, scale, gap, dim=dim, boundary=boundary, norm=norm)
    pairs = allowed_pairs(task, length, scale, gap, dim, boundary or "periodic", norm)
    counts = np.zeros((length,) * dim)
    for a, b in pairs:
        for one, other in ((a, b), (b, a)):
            counts[tuple((j - i) % length for i, j in zip(one, other, strict=True))] += 1
    np.testing.assert_allclose(found.probability, counts / counts.sum(), rtol=1e-13)
    x = images(length, dim, pairs) / (length**dim / 2) ** 0.5
    np.testing.assert_allclose(found.occupancy.ravel(), x.mean(0), rtol=1e-13)
    assert found.is_stationary == (boundary != "open")

    modes = np.fft.fftn(x.reshape(-1, *(length,) * dim), axes=tuple(range(1, dim + 1)))
    variance = np.square(np.abs(modes - modes.mean(0))).mean(0)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-12, atol=1e-12)
    cosines = (np.square(np.abs(modes)).mean(0) - 2) / 2
    np.testing.assert_allclose(found.characteristic, cosines, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("task", "length", "scale", "gap", "dim", "boundary", "norm"), CASES)
def test_pairs_of_the_tasks_themselves(task, length, scale, gap, dim, boundary, norm):
    found = separations(task, length, scale, gap, dim=dim, boundary=boundary, norm=norm)
    pairs = ScaleDetection(
        task=task, dim=dim, length=length, scale=scale, gap=float(gap), boundary=boundary, norm=norm
    ).pairs.numpy()
    counts = np.zeros((length,) * dim)
    for apart in (pairs[:, 0] - pairs[:, 1], pairs[:, 1] - pairs[:, 0]):
        np.add.at(counts, tuple((apart % length).T), 1)
    np.testing.assert_allclose(found.probability, counts / counts.sum(), rtol=1e-13)


def test_defaults_are_those_of_the_tasks():
    for dim in (1, 2):
        task = ScaleDetection(task=1, dim=dim, length=8, scale=3)
        assert separations(1, 8, 3, 0, dim=dim, boundary=None, norm="euclidean").is_stationary == task.is_periodic


def test_section_4s_task_has_256_near_and_80_far_pairs():
    found = separations(1, 32, 11, 4, dim=1, boundary=None, norm="euclidean")
    near = found.probability[[*range(1, 9), *range(24, 32)]].sum()
    assert near == pytest.approx(256 / 336, rel=1e-14)
    assert found.probability[9:14].sum() == 0
