"""Which skip connections add unshuffled channels to shuffled ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from poolscope.probe import Layer, Watcher, tensors_in

_SUMS = frozenset({"add", "add_", "__add__", "__radd__", "__iadd__", "sub", "__sub__", "__isub__"})


def identity_skips(model: nn.Module, images: Tensor, layers: Sequence[Layer]) -> dict[str, list[str]]:
    """Return the identity skips that end between one measured layer and the next.

    A sum whose one term was made from the other, x + F(x), is an identity skip: no convolution on it, so channel
    shuffling leaves it as it is, and the channels it adds no longer fit those of F. A shortcut with a convolution of
    its own is shuffled like any other. (Concatenated skips go through the next convolution, and are shuffled there.)

    Args:
        model: in evaluation mode.
        images: one image or a few, as the model takes them.
        layers: measured layers, in order.

    Returns:
        For the name of each measured layer behind such sums, the names of the modules that add them.
    """
    ancestors: dict[int, int] = {}  # of each tensor, by id: a bit for every tensor it was made from, and its own
    kept: list[Tensor] = []  # alive, so that no id is used twice
    waiting: list[str] = []
    found: dict[str, list[str]] = {}
    names = {layer.name for layer in layers}

    def mark(tensor: Tensor, mask: int) -> None:
        kept.append(tensor)
        ancestors[id(tensor)] = mask | 1 << len(kept)

    def known(values: Any) -> list[Tensor]:
        if isinstance(values, Tensor):
            return [values] if id(values) in ancestors else []
        return [one for value in values for one in known(value)] if isinstance(values, (tuple, list)) else []

    def on_call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        sources = known(args) + known(list(kwargs.values()))
        if not sources:
            return
        masks = [ancestors[id(source)] for source in sources]
        if getattr(function, "__name__", "") in _SUMS and len(sources) == 2:
            own = [1 << (mask.bit_length() - 1) for mask in masks]
            if masks[0] != masks[1] and (masks[0] & own[1] or masks[1] & own[0]):
                waiting.append(watcher.inside or type(model).__name__)
        mask = 0
        for other in masks:
            mask |= other
        for _, tensor in tensors_in(result):
            # in place: the terms that read the old values keep its old bits, what follows gets a new one
            mark(tensor, mask)

    def listener(name: str, value: Any, source: Any) -> None:
        if name in names and waiting:
            found[name] = list(dict.fromkeys(waiting))
            waiting.clear()

    watcher = Watcher(model, listener, on_call=on_call)
    images = images.clone()
    mark(images, 0)
    with torch.no_grad(), watcher.watching():
        watcher.forward(images)
    outputs = [layer.name for layer in layers if layer.kind == "output"]
    if waiting and outputs:
        found[outputs[0]] = list(dict.fromkeys(waiting))
    return found
