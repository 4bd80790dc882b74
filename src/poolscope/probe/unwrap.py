"""From what the user hands over to the plain module that can be measured, or a refusal with the way out."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter


def unwrap(model: object) -> nn.Module:
    """Return the original module behind ``torch.compile``, ``DataParallel`` or ``DistributedDataParallel``.

    Raises:
        TypeError: not an ``nn.Module``, or (part of) a scripted or traced one, whose inner tensors cannot be seen.
        ValueError: a lazy model which has not seen an input yet.
    """
    if isinstance(model, (torch.jit.ScriptModule, torch.jit.ScriptFunction)):
        raise TypeError(
            f"model must be an eager nn.Module, a scripted one hides its layers: measure the module it was made from; "
            f"got {type(model).__name__}"
        )
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, whose layers can be watched; got {type(model).__name__}")
    inner = getattr(model, "_orig_mod", None)
    if inner is None and isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = model.module
    if isinstance(inner, nn.Module):
        return unwrap(inner)
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise TypeError(
                "model must be eager throughout, a scripted part hides its layers: put the module it was made from in "
                f"its place; got {type(module).__name__} at {name!r}"
            )
    for name, parameter in model.named_parameters():
        if isinstance(parameter, UninitializedParameter):
            raise ValueError(f"a lazy model must have seen an input, which gives weights a shape; {name!r} has none")
    return model
