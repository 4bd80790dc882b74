"""Loss and error of a network on images it does not learn from."""

from __future__ import annotations

import torch
from torch import nn

from poolscope.training.batches import LabelledImages
from poolscope.training.learner import autocast, evaluating
from poolscope.training.losses import losses, right
from poolscope.training.recipe import Recipe

_BATCH = 256


def evaluate(
    model: nn.Module, data: LabelledImages, recipe: Recipe, *, seed: int = 0, epoch: int = 0
) -> dict[str, float]:
    """Return mean ``loss`` and ``error`` (share of the images classified wrongly), in evaluation mode.

    Args:
        model: its mode is restored.
        data: on the device of the model; fresh noise is drawn anew for every ``epoch``.
        recipe: says which loss, precision and memory format.
        seed: of fresh noise.
        epoch: the same.
    """
    device = next(model.parameters()).device
    exact = torch.float32 if device.type == "mps" else torch.float64
    loss = torch.zeros((), dtype=exact, device=device)
    correct = torch.zeros((), dtype=torch.int64, device=device)
    layout = torch.channels_last if recipe.memory_format == "channels_last" else torch.contiguous_format
    with evaluating(model):
        for start in range(0, len(data), _BATCH):
            stop = min(start + _BATCH, len(data))
            images = data.evaluation(start, stop, seed=seed, epoch=epoch).contiguous(memory_format=layout)
            labels = data.labels[start:stop]
            with autocast(device, recipe):
                outputs = model(images)
            outputs = outputs.float()
            loss += losses(recipe.loss, outputs, labels).sum(dtype=exact)
            correct += right(recipe.loss, outputs, labels).sum()
    return {"loss": loss.item() / len(data), "error": 1 - correct.item() / len(data)}
