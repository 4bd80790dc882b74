"""What a kind of work is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Settings, folders of the jobs needed by their part, the job's own folder, a place for words, "cpu" or "cuda".
Do = Callable[[Mapping[str, Any], Mapping[str, Path], Path, Callable[[str], object], str], None]


@dataclass(frozen=True)
class Work:
    """A kind of work: what a job of it does.

    Attributes:
        name: first part of its jobs' keys.
        version: raised when the same settings give other numbers, so that what was made before is made again.
        do: does it in a folder, in which an interrupted attempt may have left its files; everything it leaves there is
            the result.
    """

    name: str
    version: int
    do: Do
