"""Which skip connections add unshuffled channels to shuffled ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from poolscope.probe import Layer, Watcher, tensors_in

_SUMS = frozenset(
    {"add", "add_", "__add__", "__radd__", "__iadd__", "sub", "sub_", "subtract", "subtract_", "rsub", "__sub__",
     "__rsub__", "__isub__"}
)  # fmt: skip
_MIXES_CHANNELS = frozenset(
    {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear", "bilinear",
     "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "baddbmm", "addmm", "einsum", "tensordot",
     "scaled_dot_product_attention", "multi_head_attention_forward"}
)  # fmt: skip
_ONLY_SHAPED_LIKE = frozenset(
    {"new_zeros", "new_ones", "new_full", "new_empty", "new_tensor", "zeros_like", "ones_like", "full_like",
     "empty_like", "rand_like", "randn_like"}
)  # fmt: skip


class _Ancestors(NamedTuple):
    """What a tensor was made from, a bit for every tensor: along some way without, and with, mixing of channels."""

    plain: int
    mixed: int


def identity_skips(model: nn.Module, images: Tensor, layers: Sequence[Layer]) -> dict[str, list[str]]:
    """Return the identity skips that end between one measured layer and the next.

    The sum x + F(x) of two tensors of one shape is an identity skip if F convolves (or multiplies by a matrix, or
    attends) and the way of x does nothing of the kind: channel shuffling leaves it as it is, and the channels it adds
    no longer fit those of F. A subsampled, pooled or padded x counts, a shortcut with a convolution of its own does
    not: it is shuffled like any other. (Concatenated skips go through the next convolution, and are shuffled there.)

    Args:
        model: in evaluation mode.
        images: one image or a few, as the model takes them.
        layers: measured layers, in order.

    Returns:
        For the name of each measured layer behind such sums, the names of the modules that add them.
    """
    made_from: dict[int, _Ancestors] = {}  # by id
    kept: list[Tensor] = []  # alive, so that no id is used twice
    waiting: list[str] = []
    found: dict[str, list[str]] = {}
    names = {layer.name for layer in layers}

    def mark(tensor: Tensor, plain: int, mixed: int) -> None:
        kept.append(tensor)
        made_from[id(tensor)] = _Ancestors(plain | 1 << len(kept), mixed)

    def known(values: Any) -> list[Tensor]:
        if isinstance(values, Tensor):
            return [values] if id(values) in made_from else []
        return [one for value in values for one in known(value)] if isinstance(values, (tuple, list)) else []

    def on_call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        name = getattr(function, "__name__", "")
        sources = known(args) + known(list(kwargs.values()))
        if not sources or name in _ONLY_SHAPED_LIKE:
            return
        if name in _SUMS and len(sources) == 2 and sources[0].shape == sources[1].shape:
            a, b = (made_from[id(source)] for source in sources)
            # ways from one tensor: straight on the one side, where none goes astray, and through F on the other
            if a.plain & b.mixed & ~a.mixed or b.plain & a.mixed & ~b.mixed:
                waiting.append(watcher.inside or type(model).__name__)
        plain = mixed = 0
        for source in sources:
            plain |= made_from[id(source)].plain
            mixed |= made_from[id(source)].mixed
        if name in _MIXES_CHANNELS:
            plain, mixed = 0, plain | mixed
        for _, tensor in tensors_in(args[0] if name == "__setitem__" else result):
            # in place: what follows has a bit of its own, and those of the old values
            mark(tensor, plain, mixed)

    def listener(name: str, value: Any, source: Any) -> None:
        if name in names and waiting:
            found[name] = list(dict.fromkeys(waiting))
            waiting.clear()

    watcher = Watcher(model, listener, on_call=on_call)
    images = images.clone()
    mark(images, 0, 0)
    with torch.no_grad(), watcher.watching():
        watcher.forward(images)
    outputs = [layer.name for layer in layers if layer.kind == "output"]
    if waiting and outputs:
        found[outputs[0]] = list(dict.fromkeys(waiting))
    return found
