"""Activations with hand-written slopes against torch's own differentiation."""

import pytest
import torch
from torch import nn

from helpers import seeded
from poolscope.networks.activation import Swish
from poolscope.training.simple.slopes import slope_of

KNOWN = [nn.ReLU(), nn.ReLU(inplace=True), nn.Tanh(), nn.SiLU(), Swish(3.0), Swish(0.0), Swish(1.0), nn.Identity()]


@pytest.mark.parametrize("activation", KNOWN, ids=str)
def test_values_and_slopes_are_those_of_autograd(activation: nn.Module) -> None:
    points = torch.cat([torch.tensor([0.0, -0.0, 30.0, -30.0]), torch.randn(60, generator=seeded(0))]).double()
    gradient = torch.randn(64, generator=seeded(1), dtype=torch.float64)
    inputs = points.clone().requires_grad_()
    values = activation(inputs * 1)
    values.backward(gradient)
    slope = slope_of(activation)
    found, kept = slope.forward(points.clone().view(4, 16))
    torch.testing.assert_close(found.flatten(), values.detach(), rtol=1e-14, atol=1e-300)
    for shape in ((4, 16), (2, 2, 4, 4)):  # that of the gradient, whatever that of the values was
        back = slope.backward(gradient.view(shape), kept)
        assert back.shape == shape
        torch.testing.assert_close(back.flatten(), inputs.grad, rtol=1e-12, atol=1e-15)


def test_an_expanded_gradient_is_taken_as_it_reads() -> None:
    """The last layer's: the same for every pixel, without memory of its own."""
    for activation in KNOWN:
        slope = slope_of(activation)
        _, kept = slope.forward(torch.randn(2, 3, 5, generator=seeded(0)))
        gradient = torch.randn(2, 1, 5, generator=seeded(1)).expand(-1, 3, -1)
        assert torch.equal(slope.backward(gradient, kept), slope.backward(gradient.clone(), kept))


def test_other_activations_are_refused() -> None:
    with pytest.raises(ValueError, match="must be relu, tanh, swish or linear to be trained in stacks; got GELU"):
        slope_of(nn.GELU())
