"""LeNet: two convolutions and three linear layers."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from poolscope.networks.activation import activation_maker
from poolscope.networks.cifar import CifarNetwork, scaled


class LeNet(CifarNetwork):
    """LeNet: ``features``, two 5x5 convolutions without padding, each with a max pooling; ``classifier``, three layers.

    62,006 parameters at 10 classes, 3 channels, 32x32; 43,661 at one class, one channel and ``size=28``, as published.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        width: factor on all numbers of channels and hidden units, rounded, at least one.
        size: pixels per side of the images, after padding; at least 16.
        padding: zero pixels added around the image first.
        activation: behind all layers but the last; `activation_maker` lists them.
        beta: of swish.

    Raises:
        ValueError: one of these is not possible.

    Source: Table C1 of the paper; LeCun et al. 1998 for the sizes, ReLU and max pooling as published.
    """

    def __init__(
        self,
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
        if size < 16:
            raise ValueError(f"size must be at least 16, so that a pixel is left for the linear layers; got {size}")
        make = activation_maker(activation, beta)
        first, second, third, fourth = (scaled(number, width) for number in (6, 16, 120, 84))
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, first, kernel_size=5),
            make(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, kernel_size=5),
            make(),
            nn.MaxPool2d(2),
        )
        left = ((size - 4) // 2 - 4) // 2
        self.classifier = nn.Sequential(
            nn.Linear(second * left**2, third),
            make(),
            nn.Linear(third, fourth),
            make(),
            nn.Linear(fourth, num_classes),
        )

    def forward(self, images: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images classes"]:
        """Class scores.

        Raises:
            ValueError: if the images have other channels or another size.
        """
        logits: Tensor = self.classifier(self.features(self.framed(images)).flatten(1))
        return logits
