"""Train a deep network on images or on a task, as ``poolscope train`` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import Sources
from poolscope.studies.reproduce.work.data import digested
from poolscope.studies.reproduce.work.work import Work
from poolscope.training import Recipe, load_recipe
from poolscope.training.configuration import VERSION
from poolscope.training.finished import read_run
from poolscope.training.launch import train


def _do(
    settings: Mapping[str, Any], needs: Mapping[str, Path], folder: Path, say: Callable[[str], object], device: str
) -> None:
    chosen = dict(settings)
    data = chosen.pop("data")
    recipe = Recipe.model_validate(chosen.pop("recipe"))
    train(
        chosen.pop("model"),
        data["spec"],
        out=folder,
        recipe=recipe,
        device=device,
        threads=torch.get_num_threads(),
        say=say,
        progress=False,
        **chosen,
    )
    read_run(folder)  # whole, or an error


def training(
    model: str,
    sources: Sources,
    *,
    data: str | None = None,
    recipe: str,
    changes: Mapping[str, Any] | None = None,
    seed: int = 0,
    memory: float = 2.0,
    **options: Any,
) -> Job:
    """Return the job that trains a network; its folder is that of a run of ``train``.

    Args:
        model: name of the network.
        sources: where images are, and what computes.
        data: name of a data set (default: the images).
        recipe: name of a recipe.
        changes: other values of its fields.
        seed: of the run.
        memory: GiB.
        options: further arguments of ``train``: ``options``, ``eta``, ``train_images``, ``validation``, ``measure_at``,
            ``measure``.
    """
    spec = data or sources.images
    how = load_recipe(recipe).changed(**(changes or {})).model_dump(mode="json")
    settings = {"model": model, "data": digested(spec), "recipe": how, "seed": seed, **options}
    if spec.startswith("parquet:"):
        settings["normalize"] = "cifar10"  # encoded files do not say what they are
    return Job("train", WORK.version, settings, threads=sources.threads, device=sources.device, memory=memory)


WORK = Work("train", VERSION, _do)
