"""What the folder of a run asks for: one configuration each, clear words when the disk is full, where it was made."""

from __future__ import annotations

import errno
import json
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from poolscope._files import written_whole
from poolscope.training.configuration import differences


class TrainingStopped(OSError):
    """The disk is full or cannot be written to; what was finished is intact."""


def claim(path: Path, plain: dict[str, Any]) -> dict[str, Any]:
    """Note a configuration in a new folder, refuse a folder of another one; return it with the words noted there.

    Args:
        path: the file for it, such as ``run.json``.
        plain: the configuration in JSON's types.

    Raises:
        ValueError: the file holds another configuration, or none.
    """
    if path.is_file():
        try:
            found: dict[str, Any] = json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f"{path} must be the configuration of a run; {error}") from error
        different = differences(found, plain)
        if different:
            more = f", and {len(different) - 4} more" if len(different) > 4 else ""
            raise ValueError(
                f"a folder holds one run, and {path.parent} has another: {'; '.join(different[:4])}{more} (give "
                "another --out, or the same configuration to go on)"
            )
        return found
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(plain, indent=2) + "\n")
    return plain


def environment() -> dict[str, str]:
    """Return machine and versions: on the same ones a run comes to the same bits."""
    return {"torch": str(torch.__version__), "python": platform.python_version(), "machine": platform.machine()}


def note_environment(environments: list[dict[str, str]]) -> None:
    """Note machine and versions, if they are not those of the run so far: such a run is not repeatable to the bit."""
    here = environment()
    if here not in environments:
        environments.append(here)


def duration(seconds: float) -> str:
    """Return a time in words, such as "12 min"."""
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


@contextmanager
def threads_of(number: int) -> Iterator[None]:
    """Compute with so many threads in a block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a full disk, or one that cannot be written to, into one line that says what is left.

    Raises:
        TrainingStopped: in the place of such an error.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise TrainingStopped(
                f"no space left for {folder}: what was finished is intact; make room and run the same again to go on"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise TrainingStopped(
                f"{folder} must be a folder that can be written to; {error.strerror} ({error.filename})"
            ) from error
        raise
