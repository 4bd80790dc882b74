"""Train simple CNNs on scale detection, and measure them on the whole task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from poolscope.sensitivity import Result
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import Sources
from poolscope.studies.reproduce.work.work import Work
from poolscope.studies.scale_detection import gather
from poolscope.training.simple.experiment import VERSION, Experiment, load_experiment
from poolscope.training.simple.finished import read_simple_runs
from poolscope.training.simple.run import train_simple


def _train(
    settings: Mapping[str, Any], needs: Mapping[str, Path], folder: Path, say: Callable[[str], object], device: str
) -> None:
    experiment = Experiment.model_validate(settings["experiment"])
    train_simple(
        experiment,
        folder,
        seeds=settings["seeds"],
        device=device,
        threads=torch.get_num_threads(),
        say=say,
        progress=False,
    )


def _measure(
    settings: Mapping[str, Any], needs: Mapping[str, Path], folder: Path, say: Callable[[str], object], device: str
) -> None:
    runs = read_simple_runs(needs["networks"])
    if not runs.finished:
        say("no seed interpolated, there is nothing to be measured but how training ended")
        outcomes = runs.outcomes.drop(columns=["together", "seconds"])
        Result(outcomes, {"protocol": settings["protocol"]}).save(folder / "outcomes.parquet")
        return
    found = gather(runs, protocol=settings["protocol"], pile=settings["pileup"])
    for name, table in found.tables().items():
        if name == "outcomes":
            table = table.drop(columns="seconds")
        Result(table, {"protocol": settings["protocol"]}).save(folder / f"{name}.parquet")


def simple(
    experiment: str, sources: Sources, *, seeds: Sequence[int], changes: Mapping[str, Any] | None = None
) -> Job:
    """Return the job that trains the seeds of an experiment together; its folder is that of `train_simple`."""
    chosen = load_experiment(experiment).changed(**{"together": len(seeds), **(changes or {})})
    settings = {"experiment": chosen.model_dump(mode="json"), "seeds": list(seeds)}
    return Job("simple", TRAIN.version, settings, threads=sources.threads, device=sources.device)


def simple_measured(networks: Job, *, protocol: str = "text", pileup: bool = True) -> Job:
    """Return the job that measures simple CNNs: the tables of `poolscope.studies.scale_detection.Simple`.

    Where no seed interpolated there is ``outcomes`` alone.
    """
    settings = {"protocol": protocol, "pileup": pileup}
    return Job("simple_measured", MEASURE.version, settings, {"networks": networks}, networks.threads)


TRAIN = Work("simple", VERSION, _train)
MEASURE = Work("simple_measured", 1, _measure)
