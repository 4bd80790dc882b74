"""ResNets at CIFAR size, of torchvision's blocks."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from poolscope._torchvision import import_torchvision
from poolscope.networks.activation import activation_maker, replace_activations
from poolscope.networks.cifar import CifarNetwork, scaled

# name of the block, and how many of them in each of the four stages
_STAGES: dict[int, tuple[str, tuple[int, int, int, int]]] = {
    18: ("BasicBlock", (2, 2, 2, 2)),
    34: ("BasicBlock", (3, 4, 6, 3)),
    50: ("Bottleneck", (3, 4, 6, 3)),
}


class ResNet(CifarNetwork):
    """A ResNet for 32x32 images: torchvision's, with a 3x3 convolution of stride 1 and no pooling at its start.

    Its parts have torchvision's names: ``conv1``, ``bn1``, ``relu``, ``layer1`` (32x32 pixels) to ``layer4`` (4x4),
    ``avgpool``, ``fc``. Parameters at 10 classes and 3 channels: 11,173,962 (18), 21,282,122 (34), 23,520,842 (50).
    Weights start from PyTorch's defaults, as published; torchvision's own ResNets start from others.

    Args:
        depth: 18, 34 or 50.
        num_classes: number of outputs.
        in_channels: channels of the images.
        width: factor on all numbers of channels, rounded, at least one channel.
        size: pixels per side of the images, after padding; the published networks take 28x28 images unpadded.
        padding: zero pixels added around the image first.
        activation: in the place of every ReLU; `activation_maker` lists them.
        beta: of swish.

    Raises:
        ValueError: one of these is not possible.
        ImportError: torchvision is not installed.

    Source: Table C1 of the paper; He et al. 2016.
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
        if depth not in _STAGES:
            raise ValueError(f"depth must be one of {', '.join(map(str, _STAGES))}; got {depth}")
        make = activation_maker(activation, beta)
        name, counts = _STAGES[depth]
        block: Any = getattr(import_torchvision().models.resnet, name)
        channels = [scaled(number, width) for number in (64, 128, 256, 512)]
        self.conv1 = nn.Conv2d(in_channels, channels[0], kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU()
        before = [channels[0], *(block.expansion * number for number in channels)]
        self.layer1 = _stage(block, counts[0], before[0], channels[0], stride=1)
        self.layer2 = _stage(block, counts[1], before[1], channels[1], stride=2)
        self.layer3 = _stage(block, counts[2], before[2], channels[2], stride=2)
        self.layer4 = _stage(block, counts[3], before[3], channels[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(before[4], num_classes)
        replace_activations(self, make)

    def forward(self, images: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images classes"]:
        """Class scores.

        Raises:
            ValueError: if the images have other channels or another size.
        """
        features = self.relu(self.bn1(self.conv1(self.framed(images))))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        logits: Tensor = self.fc(self.avgpool(features).flatten(1))
        return logits


def _stage(block: Any, count: int, inputs: int, channels: int, *, stride: int) -> nn.Sequential:
    outputs = block.expansion * channels
    skip = None  # the identity, wherever the shapes allow it
    if stride != 1 or inputs != outputs:
        skip = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
        )
    first = block(inputs, channels, stride, skip)
    return nn.Sequential(first, *(block(outputs, channels) for _ in range(count - 1)))
