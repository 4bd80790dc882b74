"""Fully connected networks with Gaussian weights, scaled in the forward."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from poolscope.networks.activation import activation_maker
from poolscope.networks.cifar import CifarNetwork, scaled


class GaussianLinear(nn.Linear):
    """A linear layer whose weights and biases are N(0, 1) at first, and whose weights count times ``scale``."""

    def __init__(self, inputs: int, outputs: int, *, scale: float, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.scale = scale

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def forward(self, input: Float[Tensor, "images inputs"]) -> Float[Tensor, "images outputs"]:
        """Return ``scale`` · x wᵀ + b."""
        return nn.functional.linear(input, self.weight * self.scale, self.bias)


class FullConn(CifarNetwork):
    """A fully connected network: ``depth - 1`` hidden layers of 64 units, ``hidden``, then ``readout``.

    A hidden layer is φ(x w / √inputs + b), the readout x w / inputs, all w and b N(0, 1) at first. The published
    networks have a bias at the readout which they do not use, and which counts among their 197,322, 205,642 and
    213,962 parameters at depth 2, 4 and 6 (10 classes, 3 channels, 32x32). It is ``idle_bias`` here, zero and frozen.

    Args:
        depth: number of linear layers, at least 2.
        num_classes: number of outputs.
        in_channels: channels of the images.
        width: factor on the number of hidden units, rounded, at least one unit.
        size: pixels per side of the images, after padding.
        padding: zero pixels added around the image first.
        activation: φ; `activation_maker` lists them.
        beta: of swish.

    Raises:
        ValueError: one of these is not possible.

    Source: Table C1 of the paper; the scaling is the published code's.
    """

    def __init__(
        self,
        depth: int,
        *,
        num_classes: int = 10,
        in_channels: int = 3,
        width: float = 1.0,
        size: int = 32,
        padding: int = 0,
        activation: str = "relu",
        beta: float | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, in_channels=in_channels, width=width, size=size, padding=padding)
        if depth < 2:
            raise ValueError(f"depth must be at least 2, a hidden layer and the readout; got {depth}")
        make = activation_maker(activation, beta)
        units = scaled(64, width)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([in_channels * size**2, *[units] * (depth - 1)]):
            layers += [GaussianLinear(inputs, outputs, scale=inputs**-0.5), make()]
        self.hidden = nn.Sequential(*layers)
        self.readout = GaussianLinear(units, num_classes, scale=1 / units, bias=False)
        self.idle_bias = nn.Parameter(torch.zeros(num_classes), requires_grad=False)

    def forward(self, images: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images classes"]:
        """Class scores.

        Raises:
            ValueError: if the images have other channels or another size.
        """
        logits: Tensor = self.readout(self.hidden(self.framed(images).flatten(1)))
        return logits
