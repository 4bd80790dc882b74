"""Trains where it is told to, one folder after another, to be killed: a process of its own, with slowed checkpoints.

Reads names of folders, one a line, and trains in each in a child, whose process id it prints; then prints how the
child ended. While a checkpoint is being written, there is a file beside the folder, ``<folder>.writing``: it stays
there if the child is killed inside the write.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from small_runs import MEASURE, configured, small_data, small_recipe

from poolscope._sealed import write_sealed
from poolscope.training import checkpoint, run

PAUSE = 0.005  # seconds, at each of five places of a write


def slowly(folder: Path) -> None:
    """Write a checkpoint after every step, with pauses before, in the middle of the content, and around the rename."""
    run._SHARE = 0
    marker = folder.with_suffix(".writing")
    fsync, replace = os.fsync, os.replace

    def write(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        marker.touch()
        os.fsync, os.replace, Path.write_bytes = slow_fsync, slow_replace, in_two  # type: ignore[method-assign, assignment]
        try:
            write_sealed(path, tensors, facts)
        finally:
            os.fsync, os.replace, Path.write_bytes = fsync, replace, write_bytes  # type: ignore[method-assign]
        marker.unlink()

    def slow_fsync(handle: int) -> None:
        time.sleep(PAUSE)
        fsync(handle)

    def slow_replace(source: Path, target: Path) -> None:
        time.sleep(PAUSE)
        replace(source, target)
        time.sleep(PAUSE)

    write_bytes = Path.write_bytes

    def in_two(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            time.sleep(PAUSE)
            return file.write(content[len(content) // 2 :])

    checkpoint.write_sealed = write


def train(folder: Path, cache: Path) -> None:
    data = small_data(cache, eta=1.0)
    recipe = small_recipe(
        flip=True, deformation=0.3, deformation_cutoff=2, memory_format="channels_last", clip_norm=2.0
    )  # fmt: skip
    measured = {**MEASURE, "displacement": (0.4,)}
    configuration = configured(data, recipe, seed=1, measure_at=(0, 1, "last"), measure=measured)
    with folder.with_suffix(".log").open("a") as log:

        def say(text: str) -> None:
            print(text, file=log, flush=True)

        run.train_run(configuration, data, folder, say=say, checkpoint_seconds=0.0)


def main(cache: Path) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder) / "first", cache)  # what is imported and prepared at first use, the children then have
    for line in sys.stdin:
        child = os.fork()
        if not child:
            slowly(Path(line.strip()))
            train(Path(line.strip()), cache)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
