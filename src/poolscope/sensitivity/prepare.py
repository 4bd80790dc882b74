"""Borrowing a model: evaluation mode, device, precision, memory format; handed back as it came on every way out."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import numpy as np
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

    Parameters, buffers and training flags are put back afterwards, as the very tensors they were, and so are the random
    states of torch, numpy and Python.
    """
    parameters: list[tuple[nn.Parameter, Tensor]] = []
    buffers = [(module, dict(module._buffers)) for module in model.modules() if module._buffers]
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - the caller's, kept for them
    training = [(module, module.training) for module in model.modules()]
    devices: list[int] = []
    if device.type == "cuda":
        devices = [torch.cuda.current_device() if device.index is None else device.index]

    def converted(tensor: Tensor) -> Tensor:
        moved = tensor.to(device, dtype if tensor.dtype.is_floating_point else tensor.dtype)
        if memory_format == "channels_last" and tensor.ndim == 4:
            moved = moved.contiguous(memory_format=torch.channels_last)
        return moved

    with torch.random.fork_rng(devices=devices), torch.no_grad(), _uncompiled():
        try:
            model.eval()
            for parameter in model.parameters():
                own = parameter.data
                if (data := converted(own)) is not own:
                    parameters.append((parameter, own))
                    parameter.data = data
            for module, own_buffers in buffers:
                for name, buffer in own_buffers.items():
                    if buffer is not None:  # a copy in any case: some models count or cache in their buffers
                        data = converted(buffer)
                        module._buffers[name] = data.clone() if data is buffer else data
            yield
        finally:
            for parameter, data in parameters:
                parameter.data = data
            for module, own_buffers in buffers:
                module._buffers.clear()
                module._buffers.update(own_buffers)
            for module, mode in training:
                module.training = mode
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


def _uncompiled() -> contextlib.AbstractContextManager[Any]:
    """Return a context in which what ``torch.compile`` made runs as it was written."""
    if "torch._dynamo" not in sys.modules:  # then nothing has been compiled, and importing it takes two seconds
        return contextlib.nullcontext()
    stance: contextlib.AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


@contextlib.contextmanager
def batch_statistics(model: nn.Module, parts: list[int]) -> Iterator[None]:
    """Let batch norms use each batch's own statistics for the time of the block, as the authors for fresh networks.

    The result then depends on the batch size. Modules that do more than normalise (timm's, with their activation) keep
    doing it: what they are given is normalised beforehand, and their running statistics are 0 and 1 - eps.

    Args:
        model: in evaluation mode.
        parts: sizes of the parts of the batch that is running, x, τx and x + η, each normalised by itself; kept up to
            date by the caller, empty for no normalisation at all.

    Raises:
        ValueError: while the model runs, if a batch norm's input cannot be told apart into the parts.
    """
    kept = [(norm, dict(norm._buffers)) for norm in _norms(model)]
    handles = []
    like = next(model.parameters(), torch.empty(0))
    try:
        for norm, _ in kept:
            norm._buffers["running_mean"] = like.new_zeros(norm.num_features)
            norm._buffers["running_var"] = like.new_full((norm.num_features,), 1 - norm.eps)
            handles.append(norm.register_forward_pre_hook(_normalise_by(parts), with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for norm, buffers in kept:
            norm._buffers.update(buffers)


def _normalise_by(parts: list[int]) -> Callable[..., tuple[tuple[Tensor], dict[str, Any]] | None]:
    def hook(norm: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Tensor], dict[str, Any]] | None:
        total = sum(parts)
        if not total:
            return None
        features = args[0] if args else kwargs["input"]
        rows, rest = divmod(len(features), total)
        if rest:
            raise ValueError(
                f"bn='batch' needs each batch norm's input to hold the {total} images of a batch one after the other; "
                f"got {tuple(features.shape)}"
            )
        normalised = [
            nn.functional.batch_norm(part, None, None, training=True, eps=norm.eps)
            for part in features.split([rows * size for size in parts])
        ]
        return (torch.cat(normalised),), {}

    return hook


@contextlib.contextmanager
def reestimated(model: nn.Module, images: Iterator[Tensor]) -> Iterator[None]:
    """Let batch norms use running statistics estimated anew on ``images``, for the time of the block.

    Args:
        model: in evaluation mode.
        images: clean batches; one pass over them; see ``reestimate``.
    """
    norms = _norms_with_statistics(model)
    kept = [(norm, dict(norm._buffers)) for norm in norms]
    try:
        for norm in norms:
            norm._buffers.update({name: b.clone() for name, b in norm._buffers.items() if b is not None})
        reestimate(model, images)
        yield
    finally:
        for norm, buffers in kept:
            norm._buffers.update(buffers)


def reestimate(model: nn.Module, images: Iterator[Tensor]) -> None:
    """Replace the running statistics of all batch norms by those of ``images``, for good.

    Every image weighs the same, however they are batched, and so does every call of a norm that is called several
    times; a batch's variance is taken about its own mean. A lone image joins its neighbours: one position of one image
    has no variance.

    Args:
        model: in evaluation mode; in place.
        images: clean batches; one pass over them.

    Raises:
        ValueError: fewer than two images, where there are statistics to be estimated.
    """
    norms = _norms_with_statistics(model)
    momenta = [norm.momentum for norm in norms]
    handles = [norm.register_forward_pre_hook(_weigh_by_rows(), with_kwargs=True) for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.training = True
        for batch in _without_lone_images(images) if norms else ():
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.training = False


def _weigh_by_rows() -> Callable[..., None]:
    """Return a hook by which a batch norm's running statistics are the mean over all rows that it has seen."""
    seen = 0

    def hook(norm: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal seen
        rows = len(args[0] if args else kwargs["input"])
        seen += rows
        norm.momentum = rows / seen

    return hook


def _without_lone_images(batches: Iterator[Tensor]) -> Iterator[Tensor]:
    """Yield the same images in the same order, at least two at a time, as copies: a model may work in place on them."""
    ready: list[Tensor] = []
    waiting: list[Tensor] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= 2:
            if ready:
                yield torch.cat(ready)
            ready, waiting = waiting, []
    ready += waiting
    if sum(map(len, ready)) < 2:
        raise ValueError(f"at least 2 images are needed to estimate batch-norm statistics; got {sum(map(len, ready))}")
    yield torch.cat(ready)


def _norms_with_statistics(model: nn.Module) -> list[Any]:
    return [norm for norm in _norms(model) if norm.running_mean is not None]


def _norms(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, _NORMS)]
