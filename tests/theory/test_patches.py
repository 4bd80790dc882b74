"""Averages by patch contents against kernels of all pairs of inputs."""

import itertools
import math

import numpy as np
import pytest

from poolscope.theory.kernel import kernels
from poolscope.theory.patches import mean_kernels


@pytest.mark.parametrize(("length", "size", "depth"), [(8, 2, 3), (9, 3, 2), (12, 2, 2)])
@pytest.mark.parametrize("bias", [0.0, 1.0])
@pytest.mark.parametrize("near", [False, True])
def test_all_pairs_of_inputs(length, size, depth, bias, near):
    pairs = np.array(list(itertools.combinations(range(length), 2)))
    if near:    # a task with distances that do not occur
        apart = pairs[:, 1] - pairs[:, 0]
        pairs = pairs[np.minimum(apart, length - apart) != 2]
    value = math.sqrt(length / 2)
    x = np.zeros((len(pairs), length))
    for pixel in pairs.T:
        x[np.arange(len(pairs)), pixel] = value
    found = list(mean_kernels(pairs, size=size, depth=depth, bias_variance=bias, value=value))
    every = kernels(x[:, None], x[None], filter_size=size, stride=size, depth=depth, bias_variance=bias)
    for mean, kernel in zip(found, every, strict=True):
        assert mean == pytest.approx(kernel.mean(), rel=1e-12)
