"""Batch-norm statistics estimated anew, where filters no longer fit the ones that were learned."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from poolscope.sensitivity.prepare import reestimate
from poolscope.sensitivity.source import open_source

_BATCH = 128


def recalibrate(model: nn.Module, images: object) -> None:
    """Replace the running statistics of the model's batch norms by those of ``images``, in place.

    The model runs once over the images in evaluation mode, batch norms apart. Modes and torch's random state are left
    as they were.

    Args:
        model: to be changed.
        images: anything ``measure`` takes, two at least, 128 at a time; a ``DataLoader``'s batches as they are, so that
            small ones miss what images differ in.

    Raises:
        TypeError: images of another kind, as for ``measure``.
        ValueError: fewer than two images, or images that ``measure`` or the model refuses.
    """
    source = open_source(images, model)
    like = next(model.parameters(), torch.empty(0))
    modes = [(module, module.training) for module in model.modules()]

    def batches() -> Iterator[Tensor]:
        for part, _ in source.batches(_BATCH):
            yield part.to(like.device, like.dtype)

    try:
        model.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=[like.device] if like.device.type == "cuda" else []):
            if any(isinstance(each, _BatchNorm) and each.running_mean is not None for each in model.modules()):
                _try(model, source.first(2).to(like.device, like.dtype))
            reestimate(model, batches())
    finally:
        for module, mode in modes:
            module.training = mode


def _try(model: nn.Module, images: Tensor) -> None:
    """Run the model in evaluation mode, which changes nothing, on images like those to come."""
    try:
        model(images.clone())
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"the model must take images of shape {tuple(images.shape)}; it raised {type(error).__name__}: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error
