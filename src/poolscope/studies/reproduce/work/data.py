"""Data by its hash: the same images in another place are the same data."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from poolscope.datasets import open_arrays
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


def exists(path: str | Path) -> bool:
    """Whether a file or folder is there."""
    return Path(path).expanduser().exists()


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits; a file that has not changed since is not read again."""
    status = path.stat()
    return _digest_of_state(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=32)
def _digest_of_state(path: Path, size: int, time: int) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
