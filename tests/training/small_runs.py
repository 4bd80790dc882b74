"""A few digits and a narrow network: whole runs in about a second. Used by tests, and by the processes they kill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from poolscope.training import Data, Recipe, load_recipe, prepare_data
from poolscope.training.batches import LabelledImages
from poolscope.training.configuration import Configuration
from poolscope.training.launch import configure

MEASURE = {"images": 10, "displacement": (0.4, 0.8), "layers": "output"}


def small_data(cache: Path, *, test_images: int = 40, **options: Any) -> Data:
    """64 digits to learn from, 20 to choose by, 40 to test on."""
    data = prepare_data("digits", cache=cache, **{"images": 64, "validation": 20, **options})
    whole = data.test
    part = LabelledImages(
        whole.images[:test_images], whole.labels[:test_images], whole.mean, whole.std,
        whole.numbers[:test_images], whole.corruption,
    )  # fmt: skip
    return replace(data, test=part, validation=part if data.validation is whole else data.validation)


def small_recipe(**fields: Any) -> Recipe:
    """Three epochs of eight batches."""
    defaults = {"epochs": 3, "batch_size": 8, "lr": 0.05, "warmup_epochs": 0.5, "dead_after": 99}
    return load_recipe("digits").changed(**{**defaults, **fields})


def configured(
    data: Data, recipe: Recipe | None = None, *, options: Mapping[str, Any] | None = None, **arguments: Any
) -> Configuration:
    """A narrow VGG11 with batch norm, on the CPU, with one thread."""
    chosen = dict({"width": 0.05} if options is None else options)
    arguments = {"device": "cpu", "threads": 1, **arguments}
    return configure("poolscope:minivgg", data, recipe or small_recipe(), options=chosen, **arguments)
