"""The learning rate as a function of time."""

from __future__ import annotations

import math

from poolscope.training.recipe import Recipe


def learning_rate(recipe: Recipe, epoch: int, step: int, steps: int) -> float:
    """Return the learning rate of a step: a linear warm-up, then a constant or half a cosine.

    Args:
        recipe: says which.
        epoch: from 0.
        step: of the epoch, from 0.
        steps: of an epoch.

    The cosine is at lr / 2 (1 + cos(π t / T)) at the time t since the warm-up, T being ``schedule_span`` times the
    epochs less the warm-up; beyond T it rises again, as the authors' does, which steps by epochs with a span of 0.8.
    """
    time = float(epoch) if recipe.schedule_by == "epoch" else epoch + step / steps
    if time < recipe.warmup_epochs:
        tick = 1.0 if recipe.schedule_by == "epoch" else 1 / steps
        return recipe.lr * min(1.0, (time + tick) / recipe.warmup_epochs)
    if recipe.schedule == "constant":
        return recipe.lr
    length = recipe.schedule_span * recipe.epochs - recipe.warmup_epochs
    if length <= 0:
        return recipe.lr
    return recipe.lr / 2 * (1 + math.cos(math.pi * (time - recipe.warmup_epochs) / length))
