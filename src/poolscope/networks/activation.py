"""The elementwise nonlinearity of a network, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

_MODULES: dict[str, Callable[[], nn.Module]] = {
    "relu": partial(nn.ReLU, inplace=True),
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "leaky_relu": partial(nn.LeakyReLU, inplace=True),
    "softplus": nn.Softplus,
    "swish": nn.SiLU,
}


class Swish(nn.Module):
    """x · sigmoid(βx) = x/2 + x/2 · tanh(βx/2), elementwise.

    The first half does not depend on β: ReLU has it too. From β = 0, where the map is linear, x/2, the even half grows
    until at large β it is |x|/2 and the map ReLU, so that β turns on nothing but the rectification. A network of the
    linear map is linear between its poolings and batch norms; each layer of it halves the signal.

    Args:
        beta: β, not negative; 1 is ``nn.SiLU``.
    """

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, inputs: Tensor) -> Tensor:
        """Return x · sigmoid(βx), of the shape of x."""
        return inputs * torch.sigmoid(self.beta * inputs)

    def extra_repr(self) -> str:
        """Return what is printed inside the brackets."""
        return f"beta={self.beta}"


def activation_maker(activation: str, beta: float | None) -> Callable[[], nn.Module]:
    """Return a function that makes one module of the activation at every call.

    Args:
        activation: "relu", "tanh", "gelu", "leaky_relu" (slope 0.01), "softplus" or "swish".
        beta: of swish, `Swish`; ``None`` is 1. The limits are ``beta=0.0``, x/2, and ``activation="relu"``.

    Raises:
        ValueError: another activation, ``beta`` for one that has none, negative or not finite.
    """
    if activation not in _MODULES:
        raise ValueError(f"activation must be one of {', '.join(_MODULES)}; got {activation!r}")
    if beta is None:
        return _MODULES[activation]
    if activation != "swish":
        raise ValueError(f"beta must be left out unless activation is swish, x sigmoid(beta x); got {activation!r}")
    if not 0 <= beta < float("inf"):
        raise ValueError(f"beta must be finite and not negative (0 is x/2, large is activation='relu'); got {beta}")
    return nn.SiLU if beta == 1 else partial(Swish, beta)


def replace_activations(network: nn.Module, make: Callable[[], nn.Module]) -> None:
    """Put a new activation in the place of every ReLU and SiLU module; sigmoids, which are gates, stay."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, (nn.ReLU, nn.SiLU)):
                setattr(parent, name, make())
