"""LeNet against the same network in slow loops."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from poolscope.networks import load_model


@pytest.mark.parametrize("size", [32, 28])
def test_outputs_are_those_of_the_slow_loop(
    size: int, convolve: Callable[..., np.ndarray], pool: Callable[[np.ndarray], np.ndarray]
) -> None:
    model = load_model("poolscope:lenet", in_channels=1, size=size, seed=0).double()
    images = torch.randn(2, 1, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    w1, b1, w2, b2, w3, b3, w4, b4, w5, b5 = (value.numpy() for value in model.state_dict().values())
    assert (w1.shape, w2.shape) == ((6, 1, 5, 5), (16, 6, 5, 5))
    first = pool(np.maximum(convolve(images.numpy(), w1, b1, stride=1, padding=0), 0))
    second = pool(np.maximum(convolve(first, w2, b2, stride=1, padding=0), 0))
    assert second.shape == (2, 16, {32: 5, 28: 4}[size], {32: 5, 28: 4}[size])
    third = np.maximum(second.reshape(2, -1) @ w3.T + b3, 0)
    fourth = np.maximum(third @ w4.T + b4, 0)
    assert (third.shape[1], fourth.shape[1]) == (120, 84)
    np.testing.assert_allclose(model(images).detach(), fourth @ w5.T + b5, rtol=1e-12)


def test_width_multiplies_channels_and_units() -> None:
    shapes = [tuple(value.shape) for name, value in load_model("poolscope:lenet", width=0.5).state_dict().items()]
    assert [shape for shape in shapes if len(shape) > 1] == [(3, 3, 5, 5), (8, 3, 5, 5), (60, 200), (42, 60), (10, 42)]
