"""Trains simple CNNs where it is told to, to be killed: as ``killed_training`` of the folder above."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from killed_training import slowly
from small_experiments import small

from poolscope.training.simple.run import train_simple

SEEDS = (0, 1, 2, 3)
CHECKPOINT_SECONDS = 0.0


def train(folder: Path) -> None:
    with folder.with_suffix(".log").open("a") as log:

        def say(text: str) -> None:
            print(text, file=log, flush=True)

        train_simple(
            small(), folder, seeds=SEEDS, threads=1, say=say, progress=False, checkpoint_seconds=CHECKPOINT_SECONDS
        )


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            slowly(Path(line.strip()))
            train(Path(line.strip()))
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
