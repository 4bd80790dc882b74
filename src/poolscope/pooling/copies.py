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
    # what is replaced is not copied either: the copy never writes into a parameter, it gets others in their place
    memo: dict[int, object] = {id(parameter): parameter for parameter in original.parameters()} if share else {}
    try:
        twin = copy.deepcopy(original, memo)
    except Exception as error:  # whatever a part that copies itself in its own way may raise
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(
            "the model must be one that copy.deepcopy can copy, to change filters in the copy; "
            f"it raised {type(error).__name__}: {reason}"
        ) from error
    inherit_origin(twin, original)
    for name, values in filters.items():
        one = found[name]
        _replace(twin.get_submodule(name), "weight", from_filters(values, one.groups) if one.transposed else values)
    for name, values in (biases or {}).items():
        _replace(twin.get_submodule(name), "bias", values)
    return twin


def _replace(module: Any, name: str, values: Tensor) -> None:
    """Give ``module`` a parameter of its own in the place of a parameter or of a parametrised one."""
    if parametrize.is_parametrized(module, name):
        made_from = list(module.parametrizations[name].parameters())
        requires_grad = any(parameter.requires_grad for parameter in made_from)
        _remove_parametrization(module, name)
    else:
        requires_grad = getattr(module, name).requires_grad
    own = values.detach().clone(memory_format=torch.preserve_format)
    setattr(module, name, nn.Parameter(own, requires_grad=requires_grad))


def _remove_parametrization(module: Any, name: str) -> None:
    """Make ``name`` an ordinary attribute of ``module`` again, which is then without it.

    torch's own ``remove_parametrizations`` deletes a property of the module's class, but ``copy.deepcopy`` leaves copy
    and original with one class, and the original would lose its weights.
    """
    parametrised = type(module)
    module.__class__ = type(parametrised.__name__, parametrised.__bases__, dict(vars(parametrised)))
    delattr(module.__class__, name)
    del module.parametrizations[name]
    if not parametrize.is_parametrized(module):
        del module.parametrizations
        module.__class__ = parametrised.__bases__[0]
