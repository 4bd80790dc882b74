"""A trained network beside its shuffled copies and its initial weights: sensitivities, shares, contrasts, filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from poolscope.pooling import filter_spectrum, frequency_content, pooling_analysis
from poolscope.sensitivity import Result
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.work.data import measured_images
from poolscope.studies.reproduce.work.work import Work
from poolscope.tasks import PREFIX
from poolscope.training.finished import read_run


def _do(
    settings: Mapping[str, Any], needs: Mapping[str, Path], folder: Path, say: Callable[[str], object], device: str
) -> None:
    from poolscope.datasets.scale_detection import task_moves

    run = read_run(needs["network"])
    images = measured_images(run, settings["images"])
    spec, name = run.configuration.data.spec, run.configuration.model
    model, initial = run.model("best"), run.model("initial")
    on_task = spec.startswith(PREFIX)
    moves = task_moves(spec) if on_task else None
    analysis = pooling_analysis(
        model,
        images,
        moves,
        displacement=None if on_task else settings["displacement"],
        cutoff=settings["cutoff"],
        initial=initial,
        draws=settings["draws"],
        mode=settings["mode"],
        recalibrate=settings["recalibrate"],
        layers=settings["layers"],
        seed=settings["seed"],
        device=device,
        progress=False,
        name=name,
    )
    tables = {"measurement": analysis.result.table, "shares": analysis.shares, "contrasts": analysis.contrasts}
    for each, table in tables.items():
        if moves is not None:
            table = table.assign(displacement=moves.displacement((images.shape[-2], images.shape[-1])), cutoff=0)
        Result(table, analysis.record).save(folder / f"{each}.parquet")
    save_spectrum(filter_spectrum(model, initial=initial, name=name), folder)


def save_spectrum(spectrum: Any, folder: Path) -> None:
    """Write filter spectra and the frequency content of each layer, if there are convolutions."""
    if len(spectrum):
        Result(spectrum, {}).save(folder / "spectrum.parquet")
        Result(frequency_content(spectrum), {}).save(folder / "frequency.parquet")


def pooled(
    network: Job,
    *,
    displacement: Sequence[float] = (),
    cutoff: int = 3,
    images: int = 500,
    draws: int = 4,
    mode: str = "independent",
    recalibrate: bool = False,
    layers: str | Sequence[str] = "auto",
    seed: int = 0,
) -> Job:
    """Return the job of a network's pooling analysis.

    Files: ``measurement``, ``shares`` and ``contrasts`` of ``pooling_analysis``, ``spectrum`` of ``filter_spectrum``
    and ``frequency`` of ``frequency_content`` (the last two for networks with convolutions).

    Args:
        network: job that trains it.
        displacement: true rms displacements in pixels; not used on tasks, whose pixels move by one.
        cutoff: highest mode.
        images: so many of the run's test images.
        draws: shuffles.
        mode: of shuffling.
        recalibrate: whether shuffled copies re-estimate batch norm.
        layers: as for ``measure``.
        seed: of perturbations and shuffles.
    """
    settings = {
        "displacement": list(displacement),
        "cutoff": cutoff,
        "images": images,
        "draws": draws,
        "mode": mode,
        "recalibrate": recalibrate,
        "layers": layers if isinstance(layers, str) else list(layers),
        "seed": seed,
    }
    return Job("pooled", WORK.version, settings, {"network": network}, network.threads, network.device, 2.0)


WORK = Work("pooled", 1, _do)
