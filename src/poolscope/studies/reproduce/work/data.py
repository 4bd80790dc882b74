"""Data by its hash: the same images in another place are the same data."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from poolscope.datasets import load_images, open_arrays
from poolscope.tasks import PREFIX
from poolscope.training import Data, prepare_data
from poolscope.training.finished import Run


def digested(spec: str) -> dict[str, Any]:
    """Return a data set's name with the hashes of its training and test images; a task is known by its name."""
    return {"spec": spec, "digest": _digest(spec)}


@lru_cache(maxsize=32)
def _digest(spec: str) -> str:
    if spec.startswith(PREFIX):
        return spec
    return "+".join(open_arrays(spec, split=split, progress=True).digest for split in ("train", "test"))


def data_of(run: Run) -> Data:
    """Return the images of a run, opened again."""
    choice = run.configuration.data
    return prepare_data(
        choice.spec,
        train=choice.train,
        test=choice.test,
        images=choice.images,
        validation=choice.validation,
        seed=choice.seed,
        eta=choice.eta,
        noise=choice.noise,
        size=choice.size,
        normalize=choice.normalize,
    )


def measured_images(run: Run, count: int) -> Tensor:
    """Return so many test images of a run, class-balanced, as it was measured on."""
    return data_of(run).measured(count)


def folder_images(spec: str, model: Any, count: int) -> Tensor:
    """Return the first images of a folder or Parquet, sized and normalised for a model."""
    return load_images(spec, count=count, for_model=model)


def exists(path: str | Path) -> bool:
    """Whether a file or folder is there."""
    return Path(path).expanduser().exists()
