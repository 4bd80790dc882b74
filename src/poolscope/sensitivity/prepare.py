"""Borrowing a model: evaluation mode, device, precision, memory format; handed back as it came on every way out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch import Tensor, nn

Precision = Literal["float32", "float64", "bf16-mixed"]
BatchNorm = Literal["eval", "reestimate", "batch"]
MemoryFormat = Literal["contiguous", "channels_last"]

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def choose_device(device: str | torch.device, model: nn.Module) -> torch.device:
    """Return the device to measure on: as told, or for ``"auto"`` the model's own, but a GPU rather than the CPU.

    Raises:
        ValueError: a device that does not exist here.
    """
    if device == "auto":
        own = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        return torch.device("cuda") if own.type == "cpu" and torch.cuda.is_available() else own
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device must exist here; got {str(device)!r}: {str(error).splitlines()[0]}") from None
    return chosen


def working_dtype(precision: Precision) -> torch.dtype:
    """Return the type of weights and images: float64, or float32 (also under bf16 autocast).

    Raises:
        ValueError: unknown precision.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of {', '.join(get_args(Precision))}; got {precision!r}")
    return torch.float64 if precision == "float64" else torch.float32


@contextlib.contextmanager
def borrowed(
    model: nn.Module, device: torch.device, dtype: torch.dtype, memory_format: MemoryFormat = "contiguous"
) -> Iterator[None]:
    """Put ``model`` into evaluation mode on ``device`` in ``dtype`` for the time of the block.

    Parameters, buffers, training flags and random states are put back afterwards, as the very tensors they were.
    """
    parameters: list[tuple[nn.Parameter, Tensor]] = []
    buffers: list[tuple[nn.Module, str, Tensor]] = []
    training = [(module, module.training) for module in model.modules()]
    devices = [device.index if device.index is not None else torch.cuda.current_device()] if device.type == "cuda" else []

    def converted(tensor: Tensor) -> Tensor:
        moved = tensor.to(device, dtype if tensor.dtype.is_floating_point else tensor.dtype)
        if memory_format == "channels_last" and tensor.ndim == 4:
            moved = moved.contiguous(memory_format=torch.channels_last)
        return moved

    with torch.random.fork_rng(devices=devices), torch.no_grad(), torch.compiler.set_stance("force_eager"):
        try:
            model.eval()
            for parameter in model.parameters():
                if (data := converted(parameter.data)) is not parameter.data:
                    parameters.append((parameter, parameter.data))
                    parameter.data = data
            for module in model.modules():
                for name, buffer in module._buffers.items():
                    if buffer is not None and (data := converted(buffer)) is not buffer:
                        buffers.append((module, name, buffer))
                        module._buffers[name] = data
            yield
        finally:
            for parameter, data in parameters:
                parameter.data = data
            for module, name, buffer in buffers:
                module._buffers[name] = buffer
            for module, mode in training:
                module.training = mode


@contextlib.contextmanager
def batch_norm(model: nn.Module, how: BatchNorm, parts: list[int], images: Iterator[Tensor]) -> Iterator[None]:
    """Choose the statistics of batch normalisation for the time of the block.

    Args:
        model: already in evaluation mode.
        how: ``"eval"``: the running statistics. ``"reestimate"``: running statistics estimated anew on ``images``.
            ``"batch"``: those of each batch, as the authors measure fresh networks: x, τx and x + η each by its own; the
            result then depends on the batch size.
        parts: sizes of the parts of a stacked batch, kept up to date by the caller, for ``"batch"``.
        images: clean images, for ``"reestimate"``; one pass over them.
    """
    norms = [module for module in model.modules() if isinstance(module, _NORMS)]
    if how == "eval" or not norms:
        yield
        return
    if how == "batch":
        replaced = [(norm, norm.__dict__.get("forward")) for norm in norms]
        try:
            for norm in norms:
                norm.forward = _by_parts(norm, parts)  # type: ignore[method-assign]
            yield
        finally:
            for norm, forward in replaced:
                del norm.forward
                if forward is not None:
                    norm.forward = forward
        return
    kept = [(norm, dict(norm._buffers), norm.momentum, norm.training) for norm in norms]
    try:
        for norm in norms:
            if norm.running_mean is None:
                continue
            norm._buffers.update({name: b.clone() for name, b in norm._buffers.items() if b is not None})
            norm.reset_running_stats()
            norm.momentum = None  # a cumulative average
            norm.training = True
        for batch in images:
            model(batch)
        for norm in norms:
            norm.training = False
        yield
    finally:
        for norm, old, momentum, mode in kept:
            norm._buffers.update(old)
            norm.momentum = momentum
            norm.training = mode


def _by_parts(norm: nn.modules.batchnorm._BatchNorm, parts: list[int]):  # type: ignore[no-untyped-def]
    def forward(features: Tensor) -> Tensor:
        sizes = parts if sum(parts) == len(features) else [len(features)]
        normalised = [
            nn.functional.batch_norm(part, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
            for part in features.split(sizes)
        ]
        return torch.cat(normalised)

    return forward
