"""Channel shuffling: each convolution's filters stay, but meet other channels than those they were trained with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from poolscope._checks import check_generator
from poolscope.pooling.convolutions import Convolution, choose, convolutions
from poolscope.pooling.copies import with_filters
from poolscope.pooling.recalibrate import recalibrate as recalibrate_
from poolscope.probe import unwrap

ShuffleMode = Literal["independent", "shared", "published", "published-outputs"]


def shuffle_channels(
    model: nn.Module,
    *,
    generator: torch.Generator,
    mode: ShuffleMode = "independent",
    convolutions: str | Sequence[str] = "all",
    image_channels: bool = True,
    recalibrate: object = None,
) -> nn.Module:
    """Return a copy of ``model`` whose convolutions read their input channels in random order.

    What channels together make invariant is lost, what single filters do to space stays: R of the copy shows spatial
    pooling alone. Permuting the input activations of an ordinary convolution is the same as permuting its weights
    along the input axis, and that is done. In a grouped or depthwise convolution weights only meet channels of their
    own group; there the input itself is permuted, across groups, by a forward pre-hook of the copy (so the copy's state
    dict does not hold it). Linear layers and skip connections stay as they are. Tied convolutions are shuffled each by
    itself; one that the model calls several times has the same order in each call. Convolutions called as functions
    are not seen.

    Args:
        model: any module; it stays as it is.
        generator: source of all randomness, on the CPU.
        mode: ``"independent"``: every output channel has an order of its own, as the text says ("randomly permuting the
            values of c, c'"; of a grouped convolution, an order of its own within the group, after one order for all).
            ``"shared"``: one order for all output channels. ``"published"``: one order for all, of the weights, so
            within groups and without effect on depthwise convolutions, as the authors' code does for its figures.
            ``"published-outputs"``: that code's second variant: output channels are permuted as well, and neither bias
            nor batch norm with them.
        convolutions: ``"all"``, a regular expression that must match whole names, or names: a single one for "only
            layer k".
        image_channels: whether the first convolution (in the order of modules), which reads the image, is among them.
            The text speaks of successive convolutions, but reports a gap at layer 1, which only this can make; the
            published code includes it.
        recalibrate: images (anything ``measure`` takes) on which the copy's batch norms re-estimate their running
            statistics; without, the statistics are those of the channels as they were, which alone moves R.

    Raises:
        TypeError: a scripted model, names of a wrong type, or no generator.
        ValueError: an unknown mode or convolution, a model without convolutions, or one that cannot be copied.

    Source: section 2, "Disentangling spatial and channel pooling"; figure 3.
    """
    copy, _ = shuffled(model, generator, mode, convolutions, image_channels)
    if recalibrate is not None:
        recalibrate_(copy, recalibrate)
    return copy


def shuffled(
    model: nn.Module,
    generator: torch.Generator,
    mode: ShuffleMode,
    which: str | Sequence[str],
    image_channels: bool,
    *,
    share: bool = False,
) -> tuple[nn.Module, dict[str, str]]:
    """Return a shuffled copy, and why which convolutions are left as they are.

    Args:
        model: stays as it is.
        generator: source of all randomness.
        mode: as for ``shuffle_channels``.
        which: convolutions to shuffle.
        image_channels: whether the first one counts.
        share: let the copy hold the model's own parameters wherever they are not replaced.
    """
    check_generator(generator)
    if mode not in get_args(ShuffleMode):
        raise ValueError(f"mode must be one of {', '.join(get_args(ShuffleMode))}; got {mode!r}")
    original = unwrap(model)
    found = convolutions(original)
    if not found:
        raise ValueError(
            "the model must have a convolution (as a module) whose channels can be shuffled; "
            f"{type(original).__name__} has none"
        )
    chosen = {one.name for one in choose(found, which)}
    filters: dict[str, Tensor] = {}
    inputs: dict[str, Tensor] = {}
    left: dict[str, str] = {}
    for number, one in enumerate(found):
        if one.name not in chosen:
            left[one.name] = "not chosen"
        elif number == 0 and not image_channels:
            left[one.name] = "reads the image"
        elif one.in_channels == 1 and mode != "published-outputs":
            left[one.name] = "one input channel"
        elif one.in_channels == one.groups and mode == "published":
            left[one.name] = "one input channel in each group"
        else:
            filters[one.name], order = _permuted(one, generator, mode)
            if order is not None:
                inputs[one.name] = order
    copy = with_filters(original, filters, share=share)
    for name, order in inputs.items():
        module: Any = copy.get_submodule(name)
        order = order.to(filters[name].device)
        if _read_in_order in module._forward_pre_hooks.values():  # a copy of a shuffled copy: one order after another
            module.input_order = module.input_order[order]
        else:
            module.register_buffer("input_order", order, persistent=False)
            module.register_forward_pre_hook(_read_in_order, with_kwargs=True)
    return copy, left


def _permuted(one: Convolution, generator: torch.Generator, mode: ShuffleMode) -> tuple[Tensor, Tensor | None]:
    """Return filters in their new order, and the order of the input where it crosses groups."""
    filters = one.weight
    outputs, inputs = filters.shape[:2]
    order = None
    if mode in ("independent", "shared") and one.groups > 1:
        order = torch.randperm(one.in_channels, generator=generator)
        if mode == "shared":
            return filters, order
    if mode == "independent":
        # the ranks of independent uniforms are a uniform permutation: one for each output channel
        own = torch.rand(outputs, inputs, generator=generator, dtype=torch.float64).argsort(dim=1)
    else:
        own = torch.randperm(inputs, generator=generator).expand(outputs, -1)
    own = own.to(filters.device)
    index = own.reshape(*own.shape, *[1] * (filters.ndim - 2)).expand_as(filters)
    permuted = filters.gather(1, index)
    if mode == "published-outputs":
        permuted = permuted[torch.randperm(outputs, generator=generator).to(filters.device)]
    return permuted, order


def _read_in_order(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    images = args[0] if args else kwargs["input"]
    images = images.index_select(images.ndim - 1 - len(module.kernel_size), module.input_order)
    return ((images, *args[1:]), kwargs) if args else (args, {**kwargs, "input": images})
