"""EfficientNetB0 at CIFAR size, of torchvision's inverted residual blocks."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from poolscope._torchvision import import_torchvision
from poolscope.networks.activation import activation_maker, replace_activations
from poolscope.networks.cifar import CifarNetwork

# of each stage: expansion of the channels within a block, filter size, stride of the first block, channels, blocks
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class EfficientNet(CifarNetwork):
    """EfficientNetB0 for 32x32 images: the stem has stride 1, and no convolution follows the last block.

    Its parts have torchvision's names: ``features`` (the stem, then seven stages, 2x2 pixels at the end), ``avgpool``,
    ``classifier``. The published network has 3,599,686 parameters at 10 classes and 3 channels, where Table C1 prints
    5 (the 5.3 million of the network for ImageNet). 1,088 of them never act: the first block does not expand its
    channels, yet holds the weights for it. They are ``idle_expansion`` here, zero and frozen; 3,598,598 act.
    Weights start from PyTorch's defaults, as published.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        width: factor on all numbers of channels, rounded to multiples of 8, at least 8.
        size: pixels per side of the images, after padding; the published network takes 28x28 images unpadded.
        padding: zero pixels added around the image first.
        dropout: probability, before the linear layer.
        drop_connect: probability of leaving out a block that has a skip connection, while training. It grows linearly
            from 0 at the first block to 15/16 of this at the last, as Table C1 ("Dropconnect") and EfficientNet have
            it; in the published code the counter of blocks stays at 0, which is ``drop_connect=0.0``.
        activation: in the place of every swish, also of those inside squeeze-and-excitation, whose sigmoid stays;
            `activation_maker` lists them.
        beta: of swish.

    Raises:
        ValueError: one of these is not possible.
        ImportError: torchvision is not installed.

    Source: Table C1 of the paper; Tan and Le 2019.
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_channels: int = 3,
        width: float = 1.0,
        size: int = 32,
        padding: int = 0,
        dropout: float = 0.2,
        drop_connect: float = 0.2,
        activation: str = "swish",
        beta: float | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, in_channels=in_channels, width=width, size=size, padding=padding)
        if not 0 <= drop_connect <= 1:
            raise ValueError(f"drop_connect must be in 0 .. 1, a probability; got {drop_connect}")
        make = activation_maker(activation, beta)
        parts: Any = import_torchvision().models.efficientnet
        channels = stem = _eights(32, width)
        total = sum(count for *_, count in _STAGES)
        stages: list[nn.Module] = [
            parts.Conv2dNormActivation(in_channels, stem, kernel_size=3, activation_layer=nn.SiLU)
        ]
        number = 0  # of blocks so far
        for expansion, kernel, first_stride, full_width, count in _STAGES:
            blocks: list[nn.Module] = []
            for position in range(count):
                filters, stride = _eights(full_width, width), first_stride if position == 0 else 1
                shape = parts.MBConvConfig(expansion, kernel, stride, channels, filters, num_layers=1)
                blocks.append(parts.MBConv(shape, drop_connect * number / total, nn.BatchNorm2d))
                channels = filters
                number += 1
            stages.append(nn.Sequential(*blocks))
        self.features = nn.Sequential(*stages)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_classes))
        replace_activations(self, make)
        # a 1x1 convolution from the stem's channels to as many, and its batch norm
        self.idle_expansion = nn.Parameter(torch.zeros(stem**2 + 2 * stem), requires_grad=False)

    def forward(self, images: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images classes"]:
        """Class scores.

        Raises:
            ValueError: if the images have other channels or another size.
        """
        features = self.features(self.framed(images))
        logits: Tensor = self.classifier(self.avgpool(features).flatten(1))
        return logits


def _eights(number: int, width: float) -> int:
    """Return ``number`` times ``width`` as a multiple of 8, which torchvision's blocks round to."""
    return number if width == 1 else max(8, 8 * round(number * width / 8))
