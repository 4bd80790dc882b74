"""Checkpoints of a run: the newest two, each whole, each with its hash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from poolscope._sealed import read_sealed, write_sealed

_KEPT = 2


class Checkpoints:
    """The folder of a run's checkpoints, named by their number.

    Args:
        folder: made when the first is written.
        say: told of damaged ones.
    """

    def __init__(self, folder: Path, say: Callable[[str], object]):
        self.folder = folder
        self.say = say

    def write(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Write the next one, then let go of those before the last two.

        Raises:
            OSError: no space, or no right to write; the earlier ones are as they were.
        """
        self.folder.mkdir(exist_ok=True)
        paths = self._paths()
        number = int(paths[-1].stem) + 1 if paths else 0
        write_sealed(self.folder / f"{number:08d}.safetensors", tensors, facts)
        for path in paths[: -(_KEPT - 1)]:
            path.unlink(missing_ok=True)

    def newest(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the newest that is whole; damaged ones are told of and removed."""
        for path in reversed(self._paths()):
            try:
                tensors, facts = read_sealed(path)
                if facts:
                    return tensors, facts
                reason = f"{path} holds no state of a run"
            except ValueError as error:
                reason = str(error)
            self.say(f"a checkpoint is damaged and left out: {reason}")
            path.unlink(missing_ok=True)
        return None

    def remove(self) -> None:
        """Remove all of them and their folder."""
        for path in self._paths():
            path.unlink(missing_ok=True)
        if self.folder.is_dir():
            self.folder.rmdir()

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.safetensors") if path.stem.isdigit())
