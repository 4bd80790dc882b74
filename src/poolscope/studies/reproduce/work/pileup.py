"""How much of each layer's response to noise is common to all draws: of deep networks, and of simple CNNs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from poolscope.perturb import Diffeomorphism, GaussianNoise
from poolscope.pooling import noise_pileup
from poolscope.sensitivity import Result
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.work.data import measured_images
from poolscope.studies.reproduce.work.work import Work
from poolscope.studies.scale_detection.magnitudes import displacement_norm
from poolscope.tasks import parse
from poolscope.training.finished import read_run
from poolscope.training.simple.finished import read_simple_runs


def _trained(
    settings: Mapping[str, Any], needs: Mapping[str, Path], folder: Path, say: Callable[[str], object], device: str
) -> None:
    import pandas as pd

    run = read_run(needs["network"])
    images = measured_images(run, settings["images"])
    tables = []
    for variant in settings["variants"]:
        table = noise_pileup(
            run.model("initial" if variant == "initial" else "best"),
            images,
            Diffeomorphism(settings["displacement"], settings["cutoff"]),
            layers=settings["layers"],
            draws=settings["draws"],
            seed=settings["seed"],
            device=device,
            progress=False,
            name=run.configuration.model,
            variant=variant,
        )
        tables.append(table)
        say(variant)
    found = pd.concat(tables, ignore_index=True).assign(displacement=settings["displacement"])
    Result(found, tables[0].attrs["record"]).save(folder / "pileup.parquet")


def pileup(
    network: Job,
    *,
    displacement: float,
    cutoff: int = 3,
    images: int = 100,
    draws: int = 6,
    variants: Sequence[str] = ("trained", "initial"),
    layers: str | Sequence[str] = "auto",
    seed: int = 0,
) -> Job:
    """Return the job of a trained deep network's pile-up; ``pileup.parquet`` holds the rows of ``noise_pileup``.

    Args:
        network: job that trains it.
        displacement: true rms displacement in pixels, of τ that plain noise is matched to.
        cutoff: highest mode of τ.
        images: so many of the run's test images.
        draws: of the noise.
        variants: "trained", "initial".
        layers: as for ``measure``.
        seed: of the noise.

    The table has ``displacement`` behind its columns.
    """
    settings = {
        "displacement": displacement,
        "cutoff": cutoff,
        "images": images,
        "draws": draws,
        "variants": list(variants),
        "layers": layers if isinstance(layers, str) else list(layers),
        "seed": seed,
    }
    return Job("pileup", TRAINED.version, settings, {"network": network}, network.threads, network.device, 2.0)


def _simple(
    settings: Mapping[str, Any], needs: Mapping[str, Path], folder: Path, say: Callable[[str], object], device: str
) -> None:
    import pandas as pd

    runs = read_simple_runs(needs["networks"])
    if not runs.finished:
        say("no seed interpolated, there is nothing to be measured")
        return
    task = parse(runs.experiment.task)[0]
    images = task.images(task.pairs[:: -(-len(task.pairs) // settings["images"])])
    norm = displacement_norm(runs)
    tables = []
    for seed in runs.finished:
        for magnitude in settings["magnitudes"]:
            model = runs.model(seed)
            table = noise_pileup(
                model,
                images,
                noise=GaussianNoise(magnitude * norm),
                layers=model.representations,
                draws=settings["draws"],
                seed=seed,
                precision="float64",  # the response to small noise is a small difference
                device=device,
                progress=False,
                name=runs.experiment.activation,
                variant="trained",
            ).iloc[1:]
            table.insert(0, "k", range(1, runs.experiment.depth + 1))
            table.insert(0, "magnitude", magnitude)
            table.insert(0, "seed", seed)
            tables.append(table)
        say(f"seed {seed}")
    Result(pd.concat(tables, ignore_index=True), {"norm": norm}).save(folder / "pileup.parquet")


def simple_pileup(
    networks: Job, *, magnitudes: Sequence[float] = (0.01, 0.1), images: int = 500, draws: int = 16
) -> Job:
    """Return the job of simple CNNs' pile-up under plain noise of several sizes, such as small ones.

    ``pileup.parquet`` holds the rows of ``noise_pileup`` for f_1 .. f_depth with ``seed``, ``magnitude`` and ``k`` in
    front; none is written where no seed interpolated.

    Args:
        networks: job that trains them.
        magnitudes: norms of the noise over the rms of |τx - x|, positive.
        images: pairs, evenly taken from all, at most.
        draws: of the noise.
    """
    settings = {"magnitudes": list(magnitudes), "images": images, "draws": draws}
    return Job("simple_pileup", SIMPLE.version, settings, {"networks": networks}, networks.threads, networks.device)


TRAINED = Work("pileup", 1, _trained)
SIMPLE = Work("simple_pileup", 1, _simple)
