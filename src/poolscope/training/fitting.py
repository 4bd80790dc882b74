"""Training a model of one's own, in memory: the same steps as a run's, without a folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor, nn

from poolscope._progress import Progress
from poolscope.training.batches import Batches, LabelledImages
from poolscope.training.evaluate import evaluate
from poolscope.training.learner import Learner, training
from poolscope.training.recipe import Recipe, load_recipe

Row = dict[str, Any]
Images = Float[Tensor, "images channels height width"]
Labels = Int64[Tensor, "images"]
HeldOutImages = Float[Tensor, "held_out channels height width"]
HeldOutLabels = Int64[Tensor, "held_out"]


def fit(
    model: nn.Module,
    images: Images,
    labels: Labels,
    *,
    recipe: str | Recipe = "digits",
    seed: int = 0,
    validation: tuple[HeldOutImages, HeldOutLabels] | None = None,
    on_epoch: Callable[[Row], object] | None = None,
    progress: bool = True,
) -> list[Row]:
    """Train a classifier in place, on the device where it is; return one row an epoch.

    For one seed, recipe, machine and number of threads the result is the same, and torch's global generators are left
    as they were. The recipe's epochs are all done: nothing is chosen, stopped or given up, but for a loss that is no
    longer finite; its initialisation is yours.

    Args:
        model: to be trained. Its training or evaluation mode is restored afterwards.
        images: the training images, normalised. Where crops come in from outside, "black" is 0.
        labels: of the images, from 0.
        recipe: a name of ``recipe_names()``, a TOML file, or a `Recipe`.
        seed: of order, augmentation and dropout.
        validation: images and labels on which each epoch's error is reported.
        on_epoch: called with each row as it is ready.
        progress: show a bar with the time left, if standard error is a terminal.

    Returns:
        Rows with ``epoch`` (from 1), ``loss`` and ``error`` (means over the epoch, in training mode, while the
        weights change) and, with ``validation``, ``validation_loss`` and ``validation_error`` at the epoch's end.

    Raises:
        ValueError: no images, other numbers of labels than images, negative labels, a wrong recipe, or a model without
            anything to train.
        Diverged: the loss is no longer finite.
    """
    recipe = load_recipe(recipe) if not isinstance(recipe, Recipe) else recipe
    device = next((parameter.device for parameter in model.parameters()), images.device)
    data = LabelledImages(images, labels).to(device)
    held_out = LabelledImages(*validation).to(device) if validation is not None else None
    rows: list[Row] = []
    with training(model, device), Progress(recipe.epochs * len(data), "training", enabled=progress) as bar:
        learner = Learner(model, Batches(data, recipe, seed), recipe, seed)
        for epoch in range(1, recipe.epochs + 1):
            while learner.step < learner.batches.steps:
                learner.advance()
                bar.advance(len(data) // learner.batches.steps)
            row: Row = {"epoch": epoch, **learner.end_epoch()}
            if held_out is not None:
                judged = evaluate(model, held_out, recipe, seed=seed, epoch=epoch)
                row |= {f"validation_{key}": value for key, value in judged.items()}
            rows.append(row)
            if on_epoch is not None:
                on_epoch(row)
    return rows


def accuracy(model: nn.Module, images: Images, labels: Labels) -> float:
    """Share of the images whose largest output is their label, in evaluation mode; the mode is restored.

    Args:
        model: on any device.
        images: normalised.
        labels: from 0.

    Raises:
        ValueError: no images, or other numbers of labels than images.
    """
    data = LabelledImages(images, labels).to(next(model.parameters()).device)
    return 1 - evaluate(model, data, Recipe(epochs=1, lr=1.0))["error"]
