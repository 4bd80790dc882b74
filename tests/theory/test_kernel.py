"""The initial kernel against networks of many channels, drawn and run."""

import math

import numpy as np
import pytest

from poolscope.theory.kernel import arc_cosine, kernels
from poolscope.theory.rectified import rectified_product


def test_arc_cosine_is_the_rectified_product_of_centred_variables():
    generator = np.random.default_rng(0)
    one, other = generator.uniform(0.1, 4, (2, 50))
    cosine = generator.uniform(-0.99, 0.99, 50)
    expected = np.sqrt(one * other) * rectified_product(np.zeros(50), np.zeros(50), cosine)
    np.testing.assert_allclose(arc_cosine(cosine * np.sqrt(one * other), one, other), expected, rtol=1e-12)
    assert arc_cosine(np.zeros(1), np.zeros(1), np.ones(1))[0] == 0    # no variance, no angle
    assert arc_cosine(np.array([2.0]), np.array([2.0]), np.array([2.0]))[0] == pytest.approx(1, rel=1e-14)


def run(x: np.ndarray, size: int, stride: int, depth: int, bias: float, width: int, generator) -> list[np.ndarray]:
    """Section 4's network as it is: [images, pixels] to [images, width, outputs] a layer."""
    f, found = x[:, None], []
    for _ in range(depth):
        w = generator.standard_normal((width, f.shape[1], size)) / math.sqrt(f.shape[1] * size)
        b = math.sqrt(bias) * generator.standard_normal(width)
        left = 0 if stride > 1 else (size - 1) // 2
        windows = np.stack([np.roll(f, left - t, -1)[..., ::stride] for t in range(size)], axis=-1)
        f = math.sqrt(size) * np.maximum(np.tensordot(windows, w, axes=([1, 3], [1, 2])) + b, 0).transpose(0, 2, 1)
        found.append(f)
    return found


@pytest.mark.parametrize(("size", "stride", "length"), [(3, 1, 6), (2, 1, 5), (2, 2, 8)])
@pytest.mark.parametrize("bias", [0.0, 1.0])
def test_wide_networks(size, stride, length, bias):
    generator = np.random.default_rng(1)
    x, y = np.abs(generator.standard_normal((2, length)))
    depth, draws, width = 3, 100, 100
    every = stride == 1
    exact = list(
        kernels(x, y, filter_size=size, stride=stride, depth=depth, bias_variance=bias, every_distance=every)
    )
    sums = [[] for _ in range(depth)]
    for _ in range(draws):
        for k, f in enumerate(run(np.stack([x, y]), size, stride, depth, bias, width, generator)):
            sums[k].append(f[0].T @ f[1] / width)
    for k in range(depth):
        values = np.stack(sums[k])
        mean, error = values.mean(0), values.std(0, ddof=1) / math.sqrt(draws)
        outputs = mean.shape[0]
        at = np.arange(outputs)[:, None], (np.arange(outputs)[:, None] + np.arange(exact[k].shape[-1])) % outputs
        assert (error[at] < 0.06 * exact[k]).all()
        # A finite width shifts means by about 1 / width a layer, below these errors. Up to 6 x 6 values.
        assert (np.abs(mean[at] - exact[k]) < 4.5 * error[at]).all()
