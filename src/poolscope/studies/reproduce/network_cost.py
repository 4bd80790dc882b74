"""What a network costs, counted: multiplications and numbers written for one image, layers, parameters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from poolscope.networks import load_model


@dataclass(frozen=True)
class NetworkCost:
    """Counted in one forward pass of one image.

    Attributes:
        products: multiply-adds of convolutions and linear layers.
        numbers: that all layers put out.
        layers: modules without modules of their own.
        parameters: of all layers.
    """

    products: int
    numbers: int
    layers: int
    parameters: int


def network_cost(name: str, size: tuple[int, int, int], **options: Any) -> NetworkCost:
    """Count what a network costs, without computing anything: on the meta device.

    Args:
        name: as for ``load_model``.
        size: channels, height and width of an image.
        options: of the network's constructor.

    Raises:
        ValueError: what ``load_model`` refuses.
    """
    return _counted(name, size, tuple(sorted(options.items())))


@lru_cache(maxsize=256)
def _counted(name: str, size: tuple[int, int, int], options: tuple[tuple[str, Any], ...]) -> NetworkCost:
    with torch.device("meta"):
        model = load_model(name, **dict(options)).eval()
    leaves = [module for module in model.modules() if not list(module.children())]
    products = numbers = layers = 0

    def count(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal products, numbers, layers
        if not isinstance(output, Tensor):
            return
        layers += 1
        numbers += output.numel()
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.Linear):
            products += output.numel() * module.in_features
        elif isinstance(weight, Tensor) and weight.dim() > 2:  # a convolution: each output is a sum over a filter
            products += output.numel() * weight[0].numel()

    handles = [module.register_forward_hook(count) for module in leaves]
    try:
        with torch.no_grad():
            model(torch.empty(1, *size, device="meta"))
    finally:
        for handle in handles:
            handle.remove()
    return NetworkCost(products, numbers, layers, sum(each.numel() for each in model.parameters()))
