"""Decoded images on disk: written once, checked each time they are opened, mended when damaged."""

import hashlib
import json
import math
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from poolscope._files import written_whole
from poolscope._lock import locked
from poolscope._progress import Progress
from poolscope.datasets.images import ImageDataset
from poolscope.datasets.transform import to_unit

_FORMAT = 1  # of an entry's files, and of what decoding does
_BLOCK = 256  # images decoded between two writes
_TYPES = {"uint8": torch.uint8, "float32": torch.float32, "int64": torch.int64}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}

Held = tuple[Tensor, Tensor, str]  # images, labels, their digest


def cache_folder(folder: str | Path | None) -> Path:
    """The folder of decoded images: the one given, else ``$POOLSCOPE_CACHE``, else ``~/.cache/poolscope/arrays``."""
    return Path(folder or os.environ.get("POOLSCOPE_CACHE") or "~/.cache/poolscope/arrays").expanduser()


def decoded_once(dataset: ImageDataset, folder: Path, *, progress: bool) -> Held:
    """Images before normalisation, labels and their digest: from the cache if they are there, else decoded into it.

    An entry is a folder with ``images.bin`` and ``labels.bin``, plain arrays, and ``entry.json``, written last, which
    holds the type, the digest and all that the entry is known by.

    Raises:
        ValueError: as decoding an image does.
    """
    identity = {"format": _FORMAT, **dataset.identity()}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
    entry = folder / f"{dataset.name.partition(':')[0]}-{key}"
    try:
        try:
            held = _read(entry, identity)
        except _Damaged:
            held = None  # or half replaced by another process: judged again behind the lock
        return held or _read_or_write(entry, identity, dataset, progress)
    except OSError as error:
        reason = error.strerror or str(error)
        warnings.warn(
            f"the cache of decoded images needs a folder that can be written to, with room on the disk; {entry}: "
            f"{reason}; {dataset.name} is decoded into memory",
            stacklevel=3,
        )
    return _decode(dataset, progress)


class _Damaged(ValueError):
    """An entry that is not as it was written."""


def _read_or_write(entry: Path, identity: dict[str, Any], dataset: ImageDataset, progress: bool) -> Held:
    entry.mkdir(parents=True, exist_ok=True)
    with locked(entry / "lock", on_wait=lambda: _say_waiting(dataset, progress)):
        try:
            held = _read(entry, identity)
        except _Damaged as damage:
            warnings.warn(f"{damage}; {dataset.name} is decoded again", stacklevel=4)
            held = None
        if held is None:
            _write(entry, identity, dataset, progress)
            held = _read(entry, identity)
        assert held is not None
        return held


def _read(entry: Path, identity: dict[str, Any]) -> Held | None:
    """The arrays of an entry, memory-mapped; ``None`` if it was never finished."""
    facts_file = entry / "entry.json"
    if not facts_file.exists():
        return None
    try:
        facts = json.loads(facts_file.read_bytes())
        if facts["identity"] != identity:
            raise ValueError("entry.json is that of another entry")
        if facts["dtype"] not in ("uint8", "float32"):
            raise ValueError(f"entry.json has the type {facts['dtype']!r}")
        images = _map(entry / "images.bin", facts["dtype"], [identity["images"], *identity["shape"]])
        labels = _map(entry / "labels.bin", "int64", [identity["images"]])
        digest = digest_of(images, labels)
        if digest != facts["digest"]:
            raise ValueError("their hash differs")
    except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
        raise _Damaged(f"cached images must be as they were written; {entry}: {error}") from error
    return images, labels, digest


def _map(file: Path, dtype: str, shape: list[int]) -> Tensor:
    size = file.stat().st_size
    needed = math.prod(shape) * _TYPES[dtype].itemsize
    if size != needed:
        raise ValueError(f"{file.name} has {size} bytes, not {needed}")
    array = np.memmap(file, dtype=dtype, mode="c", shape=tuple(shape))  # copy on write: torch wants writable memory
    return torch.from_numpy(array)


def _write(entry: Path, identity: dict[str, Any], dataset: ImageDataset, progress: bool) -> None:
    """Decode into the entry, behind its lock: what a killed process left is removed first, entry.json comes last."""
    for leftover in entry.glob(".*.part"):
        leftover.unlink()
    try:
        facts = _write_arrays(entry, dataset, torch.uint8, progress)
    except _Deeper:
        facts = _write_arrays(entry, dataset, torch.float32, progress)
    with written_whole(entry / "entry.json") as temporary:
        temporary.write_text(json.dumps({**facts, "identity": identity}, indent=1))


def _write_arrays(entry: Path, dataset: ImageDataset, dtype: torch.dtype, progress: bool) -> dict[str, Any]:
    shape = (len(dataset), *dataset.shape)
    digest = _begin_digest(dtype, shape)
    labels: list[Tensor] = []
    with written_whole(entry / "images.bin") as temporary, temporary.open("wb") as file:
        for images, numbers in _blocks(dataset, dtype, progress):
            content = images.numpy().tobytes()
            digest.update(content)
            file.write(content)
            labels.append(numbers)
    with written_whole(entry / "labels.bin") as temporary:
        temporary.write_bytes(torch.cat(labels).numpy().tobytes())
    return {"dtype": _NAMES[dtype], "digest": _end_digest(digest, torch.cat(labels))}


def _decode(dataset: ImageDataset, progress: bool) -> Held:
    try:
        blocks = list(_blocks(dataset, torch.uint8, progress))
    except _Deeper:
        blocks = list(_blocks(dataset, torch.float32, progress))
    images, labels = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return images, labels, digest_of(images, labels)


class _Deeper(Exception):
    """An image that bytes cannot hold."""


def _blocks(dataset: ImageDataset, dtype: torch.dtype, progress: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """All images and labels in order, some at a time.

    Raises:
        _Deeper: ``dtype`` is that of bytes, and an image is deeper.
    """
    with Progress(len(dataset), f"decoding {dataset.name}", enabled=progress) as bar:
        for first in range(0, len(dataset), _BLOCK):
            number = min(_BLOCK, len(dataset) - first)
            images = torch.empty(number, *dataset.shape, dtype=dtype)
            labels = torch.empty(number, dtype=torch.int64)
            for row in range(number):
                pixels, labels[row] = dataset.pixels(first + row)
                if pixels.dtype != dtype:
                    if dtype == torch.uint8:
                        raise _Deeper
                    pixels = to_unit(pixels)
                images[row] = pixels
            yield images, labels
            bar.advance(number)


def digest_of(images: Tensor, labels: Tensor) -> str:
    """SHA-256 of the type, shape and values of images and labels."""
    digest = _begin_digest(images.dtype, tuple(images.shape))
    digest.update(images.numpy().reshape(-1).view(np.uint8).data)
    return _end_digest(digest, labels)


def _begin_digest(dtype: torch.dtype, shape: tuple[int, ...]) -> "hashlib._Hash":
    return hashlib.sha256(f"{_NAMES[dtype]} {shape} ".encode())


def _end_digest(digest: "hashlib._Hash", labels: Tensor) -> str:
    digest.update(f" int64 {tuple(labels.shape)} ".encode())
    digest.update(labels.numpy().tobytes())
    return digest.hexdigest()


def _say_waiting(dataset: ImageDataset, progress: bool) -> None:
    if progress:
        print(f"another process is decoding {dataset.name}; waiting for it", file=sys.stderr, flush=True)
