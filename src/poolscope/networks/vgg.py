"""VGG at CIFAR size: 3x3 convolutions, five poolings, one linear layer."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

# channels of the convolutions between one max pooling and the next
_STAGES: dict[int, tuple[tuple[int, ...], ...]] = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    13: ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
    19: ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),
}


class VGG(nn.Module):
    """A VGG for 32x32 images: ``features`` down to one pixel, then ``classifier``, a single linear layer.

    Every convolution is 3x3, padded by one, with bias; batch norm (if any) and an in-place ReLU follow. Without
    batch norm VGG11 has 9,225,610 parameters at 10 classes and 3 channels.

    Args:
        depth: 11, 13, 16 or 19.
        batch_norm: batch normalisation after each convolution.
        num_classes: number of outputs.
        in_channels: channels of the images.
        width: factor on all numbers of channels, rounded, at least one channel.
        padding: zero pixels added around the image first; 2 takes 28x28 images to 32x32.

    Raises:
        ValueError: if ``depth`` is another one, ``width`` is not positive, ``num_classes`` or ``in_channels`` is
            below 1, or ``padding`` is not in 0 .. 15.

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
    ) -> None:
        super().__init__()
        if depth not in _STAGES:
            raise ValueError(f"depth must be one of {', '.join(map(str, _STAGES))}; got {depth}")
        if not 0 < width < float("inf"):
            raise ValueError(f"width must be positive, it multiplies the numbers of channels; got {width}")
        if num_classes < 1 or in_channels < 1:
            raise ValueError(f"num_classes and in_channels must be at least 1; got {num_classes} and {in_channels}")
        if not 0 <= padding <= 15:
            raise ValueError(f"padding must be in 0 .. 15, so that some of the 32 pixels are image; got {padding}")
        layers: list[nn.Module] = [nn.ZeroPad2d(padding)] if padding else []
        channels = in_channels
        for stage in _STAGES[depth]:
            for full_width in stage:
                filters = max(1, round(full_width * width))
                layers.append(nn.Conv2d(channels, filters, kernel_size=3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(filters))
                layers.append(nn.ReLU(inplace=True))
                channels = filters
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images classes"]:
        """Class scores of 32x32 images (28x28 where ``padding`` is 2).

        Raises:
            ValueError: if the images have another size.
        """
        features = self.features(images)
        _require_one_pixel(features)
        logits: Tensor = self.classifier(features.flatten(1))
        return logits


@torch.fx.wrap  # a leaf for symbolic tracing, which cannot follow a condition on a shape
def _require_one_pixel(features: Tensor) -> None:
    if features.shape[-2:] != (1, 1):
        height, width = features.shape[-2:]
        raise ValueError(
            "images must be 32x32 after padding, so that five poolings leave one pixel for the linear layer; "
            f"got images that leave {height}x{width}"
        )
