"""FullConn against its formula, written out, and its initial scale."""

import math

import numpy as np
import pytest
import torch

from poolscope.networks import load_model
from poolscope.networks.fullconn import FullConn


def test_a_network_by_hand() -> None:
    model = FullConn(2, num_classes=1, in_channels=1, width=2 / 64, size=2, activation="tanh").double()
    with torch.no_grad():
        weights = [[1.0, 2.0, 3.0, 4.0], [0.5, 0.0, 0.0, -1.0]]
        model.hidden[0].weight.copy_(torch.tensor(weights, dtype=torch.float64))
        model.hidden[0].bias.copy_(torch.tensor([0.1, -0.2], dtype=torch.float64))
        model.readout.weight.copy_(torch.tensor([[2.0, 3.0]]))
        model.idle_bias.copy_(torch.tensor([100.0]))  # which changes nothing
    image = torch.tensor([[[[0.1, 0.2], [0.3, -0.4]]]], dtype=torch.float64)
    first = math.tanh((0.1 + 0.4 + 0.9 - 1.6) / 2 + 0.1)
    second = math.tanh((0.05 + 0.4) / 2 - 0.2)
    assert model(image).item() == pytest.approx((2 * first + 3 * second) / 2, rel=1e-12)


@pytest.mark.parametrize("depth", [2, 4, 6])
def test_outputs_are_those_of_the_slow_loop(depth: int) -> None:
    model = load_model(f"poolscope:fullconn{depth}", width=0.25, num_classes=3, seed=1).double()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    *hidden, readout, _ = [value.detach().numpy() for value in model.state_dict().values() if value.ndim == 2] + [None]
    biases = [value.numpy() for name, value in model.state_dict().items() if name.endswith(".bias")]
    assert len(hidden) == len(biases) == depth - 1
    for image, output in zip(images, model(images).detach().numpy(), strict=True):
        units = [float(pixel) for pixel in image.reshape(-1)]
        for weight, bias in zip(hidden, biases, strict=True):
            sums = [sum(w * u for w, u in zip(row, units, strict=True)) for row in weight]
            units = [max(0.0, s / math.sqrt(len(units)) + b) for s, b in zip(sums, bias, strict=True)]
        expected = [sum(w * u for w, u in zip(row, units, strict=True)) / len(units) for row in readout]
        np.testing.assert_allclose(output, expected, rtol=1e-10)


def test_weights_and_biases_are_standard_normal() -> None:
    model = load_model("poolscope:fullconn6", seed=3)
    for values in (
        torch.cat([value.flatten() for name, value in model.named_parameters() if name.endswith("weight")]),
        torch.cat([value for name, value in model.named_parameters() if name.endswith(".bias")]),
    ):
        count = len(values)
        assert abs(values.mean()) < 5 / count**0.5
        assert abs(values.var() - 1) < 5 * (2 / count) ** 0.5


def test_depth_below_two_is_refused() -> None:
    with pytest.raises(ValueError, match=r"depth must be at least 2.*got 1"):
        FullConn(1)
