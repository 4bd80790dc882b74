"""Measure D, G and R of a network of the user's, from a weights file, and of the same network before training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from poolscope.datasets import load_images
from poolscope.networks import load_model, weights_facts
from poolscope.perturb import Diffeomorphism
from poolscope.sensitivity import Result, measure
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import Sources
from poolscope.studies.reproduce.work.data import digest_of_file, digested
from poolscope.studies.reproduce.work.work import Work

_PIXELS = 32  # per side, of the images that displacements are stated for


def _do(
    settings: Mapping[str, Any], needs: Mapping[str, Path], folder: Path, say: Callable[[str], object], device: str
) -> None:
    import pandas as pd

    path = Path(settings["weights"]["spec"])
    if digest_of_file(path) != settings["weights"]["digest"]:
        raise ValueError(f"weights must be those that were planned with; {path} has changed")
    network = weights_facts(path)["model"]
    shape = {key: network[key] for key in ("num_classes", "in_channels")}
    before = load_model(network["name"], seed=settings["seed"], **shape, **network["options"])
    models = {"initial": before, "trained": load_model(path)}
    images = load_images(settings["data"]["spec"], split="test", count=settings["images"], for_model=models["trained"])
    tables = []
    for variant, model in models.items():
        for size in settings["displacement"]:
            result = measure(
                model,
                images,
                Diffeomorphism(size * images.shape[-1] / _PIXELS, settings["cutoff"], fold="ignore"),
                seed=settings["seed"],
                device=device,
                progress=False,
                name=path.stem,
                variant=variant,
            )
            tables.append(result.table.assign(displacement=size, cutoff=settings["cutoff"]))
        say(variant)
    Result(pd.concat(tables, ignore_index=True), result.record).save(folder / "measurement.parquet")


def given(
    weights: str,
    sources: Sources,
    *,
    displacement: Sequence[float],
    cutoff: int = 3,
    images: int = 500,
    seed: int = 0,
    memory: float = 4.0,
) -> Job:
    """Return the job that measures a network from its weights file; ``measurement.parquet`` holds rows of ``measure``.

    The images are the first of the test images, sized and normalised as the file says. ``displacement`` in the table is
    the one asked for, whatever the size of the images.

    Args:
        weights: file that ``write_weights`` made, which says of which network it is.
        sources: where images are, and what computes.
        displacement: true rms, in pixels if the images had 32 a side: a field is scaled with the image.
        cutoff: highest mode.
        images: so many.
        seed: of the perturbations, and of the network before training.
        memory: GiB.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, or one that does not say of which network it is, or not with all options.
    """
    path = Path(weights).expanduser().resolve()
    network = weights_facts(path).get("model")
    if not network or network.get("unwritten"):
        raise ValueError(
            f"weights must be a file of write_weights that says how to build its network; got {path}"
        )
    if network["name"].partition(":")[0] not in ("poolscope", "torchvision", "timm"):
        raise ValueError(f"a network must be one of poolscope's, torchvision's or timm's; {path} is {network['name']}")
    settings = {
        "weights": {"spec": str(path), "digest": digest_of_file(path)},
        "data": digested(sources.images),
        "displacement": list(displacement),
        "cutoff": cutoff,
        "images": images,
        "seed": seed,
    }
    return Job("given", WORK.version, settings, threads=sources.threads, device=sources.device, memory=memory)


WORK = Work("given", 1, _do)
