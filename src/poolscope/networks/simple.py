"""The simple CNNs of section 4: equal convolutions in one or two dimensions, averaged over pixels, linear read-out."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from poolscope.networks.activation import activation_maker
from poolscope.networks.windows import Alignment, Outside, check_size, check_windows, reach


class SimpleConv(nn.Module):
    """One layer: sqrt(F^dim) φ(x * w / sqrt(C F^dim) + b), with w and b N(0, 1) at first.

    Attributes:
        conv: the convolution with w, ``[channels, C, F]`` or ``[channels, C, F, F]``, and b, ``[channels]``, if any;
            its input is divided by sqrt(C F^dim) first.
        activation: φ; the representation f_k is its output. The factor sqrt(F^dim) after it changes no D, G or R.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        *,
        dim: int,
        filter_size: int,
        stride: int,
        outside: Outside,
        alignment: Alignment,
        activation: nn.Module,
        bias: bool,
    ) -> None:
        super().__init__()
        make = nn.Conv1d if dim == 1 else nn.Conv2d
        # The convolution's own initial weights would be drawn in vain, and from the user's random numbers.
        self.conv = nn.utils.skip_init(make, inputs, channels, filter_size, stride=stride, bias=bias)
        self.conv.weight = nn.Parameter(torch.randn(channels, inputs, *[filter_size] * dim))
        if bias:
            self.conv.bias = nn.Parameter(torch.randn(channels))
        self.activation = activation
        self.stride = stride
        self.outside: Outside = outside
        self.alignment: Alignment = alignment
        self.gain = math.sqrt(filter_size**dim)
        left = reach(filter_size, stride, alignment)
        # Of stride F, the last window ends where the ring does, minus what the first one reaches to the left.
        self.padding = (left, filter_size - 1 - left if stride == 1 else 0) * dim

    @property
    def weight(self) -> Tensor:
        """w."""
        weight: Tensor = self.conv.weight
        return weight

    @property
    def bias(self) -> Tensor | None:
        """b, or ``None``."""
        bias: Tensor | None = self.conv.bias
        return bias

    def extra_repr(self) -> str:
        """Return what is printed inside the brackets."""
        return f"outside={self.outside}, alignment={self.alignment}"

    def forward(self, images: Tensor) -> Tensor:
        """Return the next layer's input, of ``channels`` channels."""
        check_size(tuple(images.shape[2:]), self.stride)
        if any(self.padding):
            mode = "circular" if self.outside == "circular" else "constant"
            images = nn.functional.pad(images, self.padding, mode=mode)
        values: Tensor = self.activation(self.conv(images / math.sqrt(self.weight[0].numel())))
        return self.gain * values


class SimpleCNN(nn.Module):
    """Section 4's network: ``depth`` equal layers, the average over pixels, a read-out y β / channels + b.

    Args:
        num_classes: outputs.
        in_channels: of the images.
        dim: 1 for images ``[N, C, L]``, 2 for ``[N, C, H, W]``.
        depth: number of convolutions. Of stride F each of them divides the sides by F.
        channels: of every layer; 1000 in the paper.
        filter_size: F.
        stride: 1 (task 1) or F (task 2), of every layer. The authors' script for task 2, run as it is, has stride 2 in
            the first layer only.
        outside: what a filter sees beyond the frame: "circular", or "zero".
        alignment: of windows of stride F: "patches", from F b on, or "centred"; see `poolscope.networks.windows`.
        activation: "relu", "tanh", "swish" and others, see `activation_maker`; or "linear".
        beta: of swish.
        bias: whether layers have biases, N(0, 1) at first (the authors' code; the theory assumes none).

    Raises:
        ValueError: one of these is not possible.

    Source: section 4, figure 6; scaling and initialisation are those of the published code.
    """

    def __init__(
        self,
        *,
        num_classes: int = 1,
        in_channels: int = 1,
        dim: int = 1,
        depth: int = 12,
        channels: int = 1000,
        filter_size: int = 3,
        stride: int = 1,
        outside: Outside = "circular",
        alignment: Alignment = "patches",
        activation: str = "relu",
        beta: float | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_windows(filter_size, stride, outside, alignment)
        if dim not in (1, 2):
            raise ValueError(f"dim must be 1 or 2, for rows or squares of pixels; got {dim!r}")
        for name, number in (
            ("num_classes", num_classes),
            ("in_channels", in_channels),
            ("depth", depth),
            ("channels", channels),
        ):
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ValueError(f"{name} must be a whole number, 1 or more; got {number!r}")
        if activation == "linear" and beta is not None:
            raise ValueError(f"beta must be left out unless activation is swish; got activation='linear', beta={beta}")
        make = nn.Identity if activation == "linear" else activation_maker(activation, beta)
        self.dim = dim
        self.in_channels = in_channels
        self.layers = nn.Sequential(
            *[
                SimpleConv(
                    channels if number else in_channels,
                    channels,
                    dim=dim,
                    filter_size=filter_size,
                    stride=stride,
                    outside=outside,
                    alignment=alignment,
                    activation=make(),
                    bias=bias,
                )
                for number in range(depth)
            ]
        )
        self.readout = nn.Parameter(torch.randn(channels, num_classes))
        self.readout_bias = nn.Parameter(torch.randn(num_classes))

    @property
    def representations(self) -> list[str]:
        """Names of the layers f_1 .. f_depth for ``measure``: also of a linear network, which has no activations."""
        return [f"layers.{number}" for number in range(len(self.layers))]

    def forward(self, images: Float[Tensor, "images channels *size"]) -> Float[Tensor, "images classes"]:
        """Class scores.

        Raises:
            ValueError: images of other axes or channels, or sides that the strides do not divide.
        """
        if images.ndim != 2 + self.dim or images.shape[1] != self.in_channels:
            axes = "L" if self.dim == 1 else "H, W"
            raise ValueError(
                f"images must be [N, {self.in_channels}, {axes}], for which this network was built (dim and "
                f"in_channels are options); got {list(images.shape)}"
            )
        pooled: Tensor = self.layers(images).flatten(2).mean(2)
        return pooled @ self.readout / len(self.readout) + self.readout_bias
