"""He's initial weights: their variance, their biases, their stream."""

import pytest
import torch
from torch import nn

from helpers import seeded
from poolscope.training.initialise import initialise_he


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(8, 64, 3, groups=2), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv1d(6, 300, 5, bias=False),
        nn.Conv3d(2, 30, (1, 2, 3)), nn.Linear(50, 200),
    )  # fmt: skip


def test_weights_have_variance_two_over_fan_in_and_biases_are_zero() -> None:
    model = network()
    nn.init.constant_(model[1].weight, 3.0)
    nn.init.constant_(model[1].bias, 2.0)
    initialise_he(model, generator=seeded(0))
    for layer, fan_in in ((model[0], 4 * 9), (model[3], 6 * 5), (model[4], 2 * 6), (model[5], 50)):
        values = layer.weight.detach().flatten().double()
        exact, error = 2 / fan_in, 2 / fan_in * (2 / len(values)) ** 0.5  # of the variance of normal numbers
        assert error < 0.08 * exact
        assert abs(values.square().mean() - exact) < 4 * error
        assert abs(values.mean()) < 4 * (exact / len(values)) ** 0.5
        assert abs((values / exact**0.5).pow(4).mean() - 3) < 4 * (96 / len(values)) ** 0.5  # normal, not uniform: 1.8
        if layer.bias is not None:
            assert layer.bias.eq(0).all()
    assert model[1].weight.eq(3).all()
    assert model[1].bias.eq(2).all()


def test_randomness_comes_from_the_generator_alone() -> None:
    model, again, other = network(), network(), network()
    before = torch.get_rng_state()
    initialise_he(model, generator=seeded(1))
    initialise_he(again, generator=seeded(1))
    initialise_he(other, generator=seeded(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(model[5].weight, again[5].weight)
    assert not torch.equal(model[5].weight, other[5].weight)
    assert not torch.equal(model[5].weight[:, :36].flatten()[:30], model[0].weight.flatten()[:30])


def test_a_model_without_such_layers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs convolutions or linear layers of torch\.nn; BatchNorm2d has none"):
        initialise_he(nn.BatchNorm2d(3), generator=seeded(0))
