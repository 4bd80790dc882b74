"""What a data set must offer to be opened: pictures and labels by index."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import PIL.Image


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of pixel values in [0, 1], one a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@runtime_checkable
class Source(Protocol):
    """Pictures and labels by index, decoded when asked for.

    Attributes:
        name: the specification it was opened from.
        classes: the names of the labels 0, 1, ..., if known.
        statistics: the data set's own normalisation, if it has one.
    """

    name: str
    classes: tuple[str, ...] | None
    statistics: Statistics | None

    def __len__(self) -> int: ...

    def picture(self, index: int) -> "tuple[PIL.Image.Image, int]":
        """The picture and its label, -1 if it has none."""
        ...

    def origin(self) -> dict[str, Any]:
        """What is recorded about where the pictures came from."""
        ...

    def identity(self) -> dict[str, Any]:
        """What changes whenever the pictures do, in JSON's types: a cache of decoded pictures goes by it."""
        ...


def check_split(split: str | None, splits: Sequence[str], name: str) -> None:
    if split is not None and split not in splits:
        raise ValueError(f"split of {name} must be {' or '.join(splits)}, or None for all; got {split!r}")


def size_and_time(file: Path) -> tuple[int, int]:
    """Bytes of a file, and when it was last changed, in nanoseconds: what tells that it is another one now."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns
