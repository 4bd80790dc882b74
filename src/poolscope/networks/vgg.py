"""VGG at CIFAR size: 3x3 convolutions, five poolings, one linear layer."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from poolscope.networks.activation import activation_maker
from poolscope.networks.cifar import check_options, scaled

# channels of the convolutions between one max pooling and the next
_STAGES: dict[int, tuple[tuple[int, ...], ...]] = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    13: ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
    19: ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),
}


class VGG(nn.Module):
    """A VGG for 32x32 images: ``features`` down to one pixel, then ``classifier``, a single linear layer.

    Every convolution is 3x3, padded by one, with bias; batch norm (if any) and an activation (ReLU in place) follow.
    Parameters at 10 classes and 3 channels: 9,225,610 (11), 9,231,114 (11 with batch norm), 9,416,010 (13 with),
    14,728,266 (16 with), 20,040,522 (19 with).

    Args:
        depth: 11, 13, 16 or 19.
        batch_norm: batch normalisation after each convolution.
        num_classes: number of outputs.
        in_channels: channels of the images.
        width: factor on all numbers of channels, rounded, at least one channel.
        padding: zero pixels added around the image first; 2 takes 28x28 images to 32x32.
        activation: behind every convolution; `activation_maker` lists them.
        beta: of swish.

    Raises:
        ValueError: one of these is not possible.

    Source: Table C1 of the paper; Simonyan and Zisserman 2015 for the stages.
    """

    def __init__(
        self,
        depth: int,
        *,
        batch_norm: bool = False,
        num_classes: int = 10,
        in_channels: int = 3,
        width: float = 1.0,
        padding: int = 0,
        activation: str = "relu",
        beta: float | None = None,
    ) -> None:
        super().__init__()
        if depth not in _STAGES:
            raise ValueError(f"depth must be one of {', '.join(map(str, _STAGES))}; got {depth}")
        check_options(num_classes=num_classes, in_channels=in_channels, width=width, size=32, padding=padding)
        make = activation_maker(activation, beta)
        layers: list[nn.Module] = [nn.ZeroPad2d(padding)] if padding else []
        self.padding = padding
        channels = in_channels
        for stage in _STAGES[depth]:
            for full_width in stage:
                filters = scaled(full_width, width)
                layers.append(nn.Conv2d(channels, filters, kernel_size=3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(filters))
                layers.append(make())
                channels = filters
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images classes"]:
        """Class scores of 32x32 images (28x28 where ``padding`` is 2).

        Raises:
            ValueError: if the images have another size.
        """
        _require_one_pixel(images, self.padding)
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits


@torch.fx.wrap  # a leaf for symbolic tracing, which cannot follow a condition on a shape
def _require_one_pixel(images: Tensor, padding: int) -> None:
    height, width = ((side + 2 * padding) // 32 for side in images.shape[-2:])
    if (height, width) != (1, 1):
        raise ValueError(
            "images must be 32x32 after padding, so that five poolings leave one pixel for the linear layer; "
            f"got images that leave {height}x{width}"
        )
