"""Copies of a model that differ in the filters of some convolutions, and in nothing else."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from poolscope.networks import inherit_origin
from poolscope.pooling.convolutions import convolutions, from_filters
from poolscope.probe import unwrap


def with_filters(
    model: nn.Module,
    filters: Mapping[str, Tensor],
    biases: Mapping[str, Tensor] | None = None,
    *,
    share: bool = False,
) -> nn.Module:
    """Return a copy of ``model`` with other filters in the named convolutions.

    A convolution that is given filters gets parameters of its own: tied to no other module, without parametrisation
    (the filters are what weight norm and the like made of theirs).

    Args:
        model: stays as it is.
        filters: by the convolution's name, ``[out, in / groups, *kernel]`` each.
        biases: by the convolution's name, ``[out]`` each.
        share: let the copy hold the model's own parameters wherever they are not replaced, which saves memory.

    Raises:
        TypeError: a scripted model.
        ValueError: a model that Python cannot copy.
    """
    original = unwrap(model)
    found = {one.name: one for one in convolutions(original)}
    memo: dict[int, object] = {}
    if share:
        replaced = {id(parameter) for name in filters for parameter in found[name].module.parameters()}
        memo = {id(parameter): parameter for parameter in original.parameters() if id(parameter) not in replaced}
    try:
        twin = copy.deepcopy(original, memo)
    except (RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"the model must be one that copy.deepcopy can copy, to change filters in the copy; it raised {reason}"
        ) from None
    inherit_origin(twin, original)
    for name, values in filters.items():
        module: Any = twin.get_submodule(name)
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
        one = found[name]
        raw = from_filters(values, one.groups) if one.transposed else values
        module.weight = nn.Parameter(
            raw.detach().clone(memory_format=torch.preserve_format), requires_grad=module.weight.requires_grad
        )
    for name, values in (biases or {}).items():
        module = twin.get_submodule(name)
        module.bias = nn.Parameter(values.detach().clone())
    return twin
