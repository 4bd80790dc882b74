"""Measure D, G and R of a trained network, of its initial weights, or of both, at several amplitudes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from poolscope.perturb import Diffeomorphism, Mover
from poolscope.sensitivity import Result, measure
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.work.data import measured_images
from poolscope.studies.reproduce.work.work import Work
from poolscope.tasks import PREFIX
from poolscope.training.finished import read_run


def _do(
    settings: Mapping[str, Any], needs: Mapping[str, Path], folder: Path, say: Callable[[str], object], device: str
) -> None:
    import pandas as pd

    from poolscope.datasets.scale_detection import task_moves

    run = read_run(needs["network"])
    images = measured_images(run, settings["images"])
    spec = run.configuration.data.spec
    deformations: list[tuple[Mover, float, int]]
    if spec.startswith(PREFIX):
        moves = task_moves(spec)
        deformations = [(moves, moves.displacement((images.shape[-2], images.shape[-1])), 0)]
    else:
        deformations = [
            (Diffeomorphism(size, cutoff, fold="ignore"), size, cutoff)
            for size in settings["displacement"]
            for cutoff in settings["cutoff"]
        ]
    tables = []
    for variant in settings["variants"]:
        which, _, bn = variant.partition("/")
        model = run.model("initial" if which == "initial" else "best")
        for deformation, displacement, cutoff in deformations:
            result = measure(
                model,
                images,
                deformation,
                layers=settings["layers"],
                bn=bn or "eval",
                seed=settings["seed"],
                device=device,
                progress=False,
                name=run.configuration.model,
                variant=which,
            )
            table = result.table.assign(displacement=displacement, cutoff=cutoff, batch_norm=bn or "eval")
            tables.append(table)
        say(variant)
    Result(pd.concat(tables, ignore_index=True), result.record).save(folder / "measurement.parquet")


def measured(
    network: Job,
    *,
    variants: Sequence[str] = ("trained", "initial", "initial/batch"),
    displacement: Sequence[float] = (),
    cutoff: Sequence[int] = (3,),
    images: int = 500,
    layers: str | Sequence[str] = "auto",
    seed: int = 0,
) -> Job:
    """Return the job that measures a trained network; ``measurement.parquet`` holds the rows of ``measure``.

    Args:
        network: job that trains it.
        variants: "trained" or "initial", and after a slash how batch norm works ("eval", "batch", "reestimate").
        displacement: true rms displacements in pixels; not used on tasks, whose pixels move by one.
        cutoff: highest modes.
        images: so many of the run's test images.
        layers: as for ``measure``.
        seed: of the perturbations.

    The table has ``displacement``, ``cutoff`` and ``batch_norm`` behind a result's columns.
    """
    settings = {
        "variants": list(variants),
        "displacement": list(displacement),
        "cutoff": list(cutoff),
        "images": images,
        "layers": layers if isinstance(layers, str) else list(layers),
        "seed": seed,
    }
    return Job("measured", WORK.version, settings, {"network": network}, network.threads, network.device)


WORK = Work("measured", 1, _do)
