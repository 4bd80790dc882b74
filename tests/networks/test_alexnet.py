"""AlexNet against the same network in slow loops, and its dropout."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from poolscope.networks import load_model


def test_outputs_are_those_of_the_slow_loop(
    convolve: Callable[..., np.ndarray], pool: Callable[[np.ndarray], np.ndarray]
) -> None:
    model = load_model("poolscope:alexnet", width=1 / 64, seed=0).double()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = [value.numpy() for value in model.state_dict().values()]
    features = images.numpy()
    sides = []
    for number in range(5):
        weight, bias = values[2 * number : 2 * number + 2]
        features = np.maximum(convolve(features, weight, bias, stride=2 if number == 0 else 1, padding=1), 0)
        if number in (0, 1, 4):
            features = pool(features)
        sides.append(features.shape[1:3])
    assert sides == [(1, 8), (3, 4), (6, 4), (4, 4), (4, 2)]
    units = features.reshape(2, -1)
    for number in range(5, 8):
        weight, bias = values[2 * number : 2 * number + 2]
        units = units @ weight.T + bias
        if number < 7:
            units = np.maximum(units, 0)
    np.testing.assert_allclose(model(images).detach(), units, rtol=1e-12)


def test_dropout_acts_before_the_first_two_linear_layers_while_training() -> None:
    model = load_model("poolscope:alexnet", width=1 / 16)
    kinds = [type(layer) for layer in model.classifier]
    assert kinds == 2 * [nn.Dropout, nn.Linear, nn.ReLU] + [nn.Linear]
    assert [layer.p for layer in model.classifier if isinstance(layer, nn.Dropout)] == [0.5, 0.5]
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(model(images), model(images))
    model.train()
    assert not torch.equal(model(images), model(images))
    steady = load_model("poolscope:alexnet", width=1 / 16, dropout=0.0).train()
    assert torch.equal(steady(images), steady(images))


@pytest.mark.parametrize("width", [1.0, 0.5])
def test_channels_and_units(width: float) -> None:
    with torch.device("meta"):
        model = load_model("poolscope:alexnet", width=width)
    outputs = [layer.weight.shape[0] for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert outputs == [*(int(width * number) for number in (64, 192, 384, 256, 256, 4096, 4096)), 10]
