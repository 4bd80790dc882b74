"""Initial weights other than the constructor's."""

from __future__ import annotations

import torch
from torch import nn

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def initialise_he(model: nn.Module, *, generator: torch.Generator) -> None:
    """Give every convolution and linear layer normal weights of variance 2 / fan-in, and biases of zero.

    Signals keep their size through any depth of such layers with rectifiers between them (He et al., ICCV 2015).

    Args:
        model: changed in place.
        generator: source of all randomness, on the CPU.

    Raises:
        ValueError: the model has no such layer.
    """
    layers = [module for module in model.modules() if isinstance(module, _LAYERS)]
    if not layers:
        raise ValueError(
            f"he initialisation needs convolutions or linear layers of torch.nn; {type(model).__name__} has none"
        )
    with torch.no_grad():
        for layer in layers:
            fan_in = layer.weight[0].numel()
            draws = torch.randn(layer.weight.shape, generator=generator)
            layer.weight.copy_(draws * (2 / fan_in) ** 0.5)
            if layer.bias is not None:
                layer.bias.zero_()
