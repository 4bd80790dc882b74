"""AlexNet at CIFAR size: five 3x3 convolutions, three linear layers."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from poolscope.networks.activation import activation_maker
from poolscope.networks.cifar import CifarNetwork, scaled


class AlexNet(CifarNetwork):
    """AlexNet for 32x32 images: ``features`` down to 2x2 pixels, then ``classifier``, 4096-4096-classes.

    The convolutions are 3x3, padded by one, the first with stride 2; max poolings follow the first, second and fifth.
    23,272,266 parameters at 10 classes and 3 channels.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        width: factor on all numbers of channels and hidden units, rounded, at least one.
        padding: zero pixels added around the image first; 2 takes 28x28 images to 32x32.
        dropout: probability, before the first two linear layers.
        activation: behind all layers but the last; `activation_maker` lists them.
        beta: of swish.

    Raises:
        ValueError: one of these is not possible.

    Source: Table C1 of the paper; Krizhevsky et al. 2012 in the small version of the published code.
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_channels: int = 3,
        width: float = 1.0,
        padding: int = 0,
        dropout: float = 0.5,
        activation: str = "relu",
        beta: float | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, in_channels=in_channels, width=width, size=32, padding=padding)
        make = activation_maker(activation, beta)
        layers: list[nn.Module] = []
        channels = in_channels
        for full_width, stride, pools in (
            (64, 2, True),
            (192, 1, True),
            (384, 1, False),
            (256, 1, False),
            (256, 1, True),
        ):
            filters = scaled(full_width, width)
            layers += [nn.Conv2d(channels, filters, kernel_size=3, stride=stride, padding=1), make()]
            if pools:
                layers.append(nn.MaxPool2d(2))
            channels = filters
        self.features = nn.Sequential(*layers)
        units = scaled(4096, width)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(channels * 2**2, units),
            make(),
            nn.Dropout(dropout),
            nn.Linear(units, units),
            make(),
            nn.Linear(units, num_classes),
        )

    def forward(self, images: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images classes"]:
        """Class scores.

        Raises:
            ValueError: if the images have other channels or another size.
        """
        logits: Tensor = self.classifier(self.features(self.framed(images)).flatten(1))
        return logits
