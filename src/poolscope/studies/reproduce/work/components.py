"""Measure a network under the parts of a smooth deformation, one at a time, at equal displacement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from poolscope.perturb import (
    AffineResidual,
    Deformation,
    Diffeomorphism,
    ResamplingBlur,
    Rotation,
    Scaling,
    Shear,
    Translation,
    fold_fraction,
)
from poolscope.sensitivity import Result, measure
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.work.data import measured_images
from poolscope.studies.reproduce.work.work import Work
from poolscope.training.finished import read_run

_FIELDS = 256  # drawn to see how many fold


def component(name: str, displacement: float, cutoff: int) -> Deformation:
    """Return a part of a smooth deformation.

    Args:
        name: "smooth", the whole; "translation", "rotation", "scaling", "shear", its affine parts; "residual", what an
            affine fit leaves of it; "whole pixels", translations that need no interpolation; "blur", the smoothing
            which resampling along the smooth field does, without its displacement.
        displacement: true rms, in pixels, of every part alike; of the blur: that of the field it goes with.
        cutoff: highest mode of the smooth field.

    Raises:
        ValueError: another name.
    """
    made: dict[str, Callable[[], Deformation]] = {
        "smooth": lambda: Diffeomorphism(displacement, cutoff, fold="ignore"),
        "translation": lambda: Translation(displacement),
        "whole pixels": lambda: Translation(displacement, integer=True),
        "rotation": lambda: Rotation(displacement),
        "scaling": lambda: Scaling(displacement),
        "shear": lambda: Shear(displacement),
        "residual": lambda: AffineResidual(displacement, cutoff),
        "blur": lambda: ResamplingBlur(Diffeomorphism(displacement, cutoff, fold="ignore")),
    }
    if name not in made:
        raise ValueError(f"a component must be one of {', '.join(made)}; got {name!r}")
    return made[name]()


def _do(
    settings: Mapping[str, Any], needs: Mapping[str, Path], folder: Path, say: Callable[[str], object], device: str
) -> None:
    import pandas as pd

    run = read_run(needs["network"])
    images = measured_images(run, settings["images"])
    size = (images.shape[-2], images.shape[-1])
    tables = []
    for variant in settings["variants"]:
        which, _, bn = variant.partition("/")
        model = run.model("initial" if which == "initial" else "best")
        for name in settings["components"]:
            for displacement in settings["displacement"]:
                deformation = component(name, displacement, settings["cutoff"])
                result = measure(
                    model,
                    images,
                    deformation,
                    layers=settings["layers"],
                    bn=bn or "eval",
                    batch_size=settings["batch_size"],
                    seed=settings["seed"],
                    device=device,
                    memory_format="channels_last",
                    progress=False,
                    name=run.configuration.model,
                    variant=which,
                )
                where = {
                    "component": name,
                    "displacement": displacement,
                    "cutoff": settings["cutoff"],
                    "batch_norm": bn or "eval",
                    "fold_share": _fold_share(deformation, size),
                }
                tables.append(result.table.assign(**where))
        say(variant)
    record = {"settings": dict(settings), "size": list(size)}
    Result(pd.concat(tables, ignore_index=True), record).save(folder / "measurement.parquet")


def _fold_share(deformation: Deformation, size: tuple[int, int]) -> float:
    """Return the share of fields that fold somewhere; a blur moves nothing."""
    if isinstance(deformation, ResamplingBlur):
        return 0.0
    fields = deformation.sample(_FIELDS, size, generator=torch.Generator().manual_seed(0))
    return float((fold_fraction(fields) > 0).double().mean())


def components(
    network: Job,
    *,
    components: Sequence[str],
    displacement: Sequence[float],
    cutoff: int = 3,
    images: int = 200,
    variants: Sequence[str] = ("trained", "initial", "initial/batch"),
    layers: str | Sequence[str] = "auto",
    batch_size: int = 100,
    seed: int = 0,
) -> Job:
    """Return the job that measures a network under parts of a smooth deformation.

    ``measurement.parquet`` holds rows of ``measure`` with ``component``, ``displacement``, ``cutoff``, ``batch_norm``
    and ``fold_share``, the share of the part's fields that fold, behind them.

    Args:
        network: job that trains it.
        components: names of `component`.
        displacement: true rms displacements in pixels.
        cutoff: highest mode of the smooth field.
        images: so many of the run's test images.
        variants: "trained" or "initial", and after a slash how batch norm works ("eval", "batch").
        layers: as for ``measure``.
        batch_size: images a forward, whose statistics "batch" uses.
        seed: of the perturbations.
    """
    settings = {
        "variants": list(variants),
        "components": list(components),
        "displacement": list(displacement),
        "cutoff": cutoff,
        "images": images,
        "layers": layers if isinstance(layers, str) else list(layers),
        "batch_size": batch_size,
        "seed": seed,
    }
    return Job("components", WORK.version, settings, {"network": network}, network.threads, network.device, 2.0)


WORK = Work("components", 1, _do)
