"""Activations with the slopes that gradients by hand need."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from poolscope.networks.activation import Swish


@runtime_checkable
class Slope(Protocol):
    """An activation: forward and backward."""

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return φ(z), and what ``backward`` needs; z may be overwritten."""
        ...

    def backward(self, gradient: Tensor, kept: Tensor) -> Tensor:
        """Return gradient φ'(z), in the shape of ``gradient``."""
        ...


class _ReLU:
    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return (values := inputs.relu_()), values

    def backward(self, gradient: Tensor, kept: Tensor) -> Tensor:
        back: Tensor = torch.ops.aten.threshold_backward(gradient.contiguous(), kept.view(gradient.shape), 0)
        return back


class _Tanh:
    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return (values := inputs.tanh_()), values

    def backward(self, gradient: Tensor, kept: Tensor) -> Tensor:
        back: Tensor = torch.ops.aten.tanh_backward(gradient.contiguous(), kept.view(gradient.shape))
        return back


class _Swish:
    def __init__(self, beta: float):
        self.beta = beta

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return inputs * torch.sigmoid(self.beta * inputs), inputs

    def backward(self, gradient: Tensor, kept: Tensor) -> Tensor:
        gate = torch.sigmoid(self.beta * kept)
        return gradient * (gate * (1 + self.beta * kept * (1 - gate))).view(gradient.shape)


class _Linear:
    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return inputs, inputs

    def backward(self, gradient: Tensor, kept: Tensor) -> Tensor:
        return gradient.contiguous()


def slope_of(activation: nn.Module) -> Slope:
    """Return the hand-written form of an activation.

    Raises:
        ValueError: one that is not written here.
    """
    if isinstance(activation, nn.ReLU):
        return _ReLU()
    if isinstance(activation, nn.Tanh):
        return _Tanh()
    if isinstance(activation, nn.SiLU):
        return _Swish(1.0)
    if isinstance(activation, Swish):
        return _Swish(activation.beta)
    if isinstance(activation, nn.Identity):
        return _Linear()
    raise ValueError(
        f"activation must be relu, tanh, swish or linear to be trained in stacks; got {type(activation).__name__}"
    )
