"""Which torch functions are elementwise nonlinearities, gates, products and attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

_NONLINEAR_NAMES = [
    "relu", "relu_", "relu6", "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "prelu", "rrelu", "rrelu_", "elu",
    "elu_", "selu", "selu_", "celu", "celu_", "gelu", "silu", "mish", "hardswish", "softplus", "softsign", "tanh",
    "tanh_", "tanhshrink", "hardshrink", "softshrink", "threshold", "threshold_", "logsigmoid", "sigmoid", "sigmoid_",
    "hardsigmoid",
]


def _collect() -> dict[Any, str]:
    """Map each function object, in whichever namespace it is called from, to its plain name."""
    found: dict[Any, str] = {}
    for name in _NONLINEAR_NAMES:
        for place in (F, torch, torch.Tensor, torch.special):
            function = getattr(place, name, None)
            if callable(function):
                found[function] = name.rstrip("_")
    found[torch.special.expit] = "sigmoid"
    return found


#: Elementwise nonlinearities; those called through ``nn.Module`` end up here as well.
NONLINEARITIES: dict[Any, str] = _collect()

#: Bounded functions that count as a gate, not an activation, once their output multiplies something else.
GATES = frozenset({"sigmoid", "hardsigmoid"})

_PRODUCTS = frozenset({"mul", "mul_", "__mul__", "__rmul__", "__imul__", "multiply", "multiply_"})


def is_product(function: Callable[..., Any]) -> bool:
    """Return whether ``function`` multiplies two tensors element by element."""
    return getattr(function, "__name__", "") in _PRODUCTS


def is_attention(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether this call is attention over positions: fused, or a softmax over a matrix of scores."""
    name = getattr(function, "__name__", "")
    if name in ("scaled_dot_product_attention", "multi_head_attention_forward"):
        return True
    if name == "softmax" and args and isinstance(args[0], torch.Tensor):
        scores = args[0]
        return scores.ndim >= 3 and min(scores.shape[-2:]) > 1
    return False
