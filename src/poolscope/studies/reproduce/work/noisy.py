"""Simple CNNs under plain noise of several sizes: G of each layer, and the error on all pairs of the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from poolscope.sensitivity import Result
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.work.work import Work
from poolscope.studies.scale_detection.magnitudes import MAGNITUDES, under_noise
from poolscope.training.simple.finished import read_simple_runs


def _do(
    settings: Mapping[str, Any], needs: Mapping[str, Path], folder: Path, say: Callable[[str], object], device: str
) -> None:
    runs = read_simple_runs(needs["networks"])
    if not runs.finished:
        say("no seed interpolated, there is nothing to be measured")
        return
    layers, errors = under_noise(runs, magnitudes=settings["magnitudes"])
    Result(layers, {}).save(folder / "noisy_layers.parquet")
    Result(errors, {}).save(folder / "noisy_errors.parquet")


def noisy(networks: Job, *, magnitudes: Sequence[float] = MAGNITUDES) -> Job:
    """Return the job that measures simple CNNs under noise: the tables of ``under_noise``.

    ``noisy_layers.parquet`` and ``noisy_errors.parquet``; none is written where no seed interpolated.

    Args:
        networks: job that trains them.
        magnitudes: norms of the noise over the rms of |τx - x|, positive.
    """
    settings = {"magnitudes": list(magnitudes)}
    return Job("simple_noisy", WORK.version, settings, {"networks": networks}, networks.threads)


WORK = Work("simple_noisy", 1, _do)
