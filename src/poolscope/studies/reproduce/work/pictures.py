"""An image, deformed copies of it, and copies with noise of the same size."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from poolscope._files import written_whole
from poolscope.datasets import load_images
from poolscope.perturb import Diffeomorphism, MatchedNoise
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import Sources
from poolscope.studies.reproduce.work.data import digested
from poolscope.studies.reproduce.work.work import Work

if TYPE_CHECKING:
    import pandas as pd


def _do(
    settings: Mapping[str, Any], needs: Mapping[str, Path], folder: Path, say: Callable[[str], object], device: str
) -> None:
    number, sizes = settings["image"], settings["displacement"]
    images = load_images(settings["data"]["spec"], split="test", count=number + 1, normalize="none")
    image = images[number : number + 1]
    deformed, noisy = [], []
    for size in sizes:
        # The same seed for each size: the same field, farther.
        moved = Diffeomorphism(size, settings["cutoff"], fold="ignore")(image, generator=_seeded(settings["seed"]))
        noise = MatchedNoise().sample(image, moved, generator=_seeded(settings["seed"] + 1))
        deformed.append(moved[0])
        noisy.append((image + noise)[0])
    tensors = {"image": image[0], "deformed": torch.stack(deformed), "noisy": torch.stack(noisy)}
    with written_whole(folder / "pictures.safetensors") as temporary:
        save_file({name: each.contiguous() for name, each in tensors.items()}, temporary)


def read_pictures(folder: Path) -> pd.DataFrame:
    """Return the pictures of a finished run, one row a pixel: what ``plot_deformed`` draws.

    Columns ``picture`` ("image", "deformed", "noisy"), ``displacement`` (nan for the image), ``row``, ``column``,
    ``red``, ``green``, ``blue``, to three digits; grey images have three equal ones.
    """
    import pandas as pd

    tensors = load_file(folder / "pictures.safetensors")
    sizes = json.loads((folder / "job.json").read_text())["settings"]["displacement"]
    shown = [("image", math.nan, tensors["image"])]
    shown += [
        (name, size, each) for name in ("deformed", "noisy") for size, each in zip(sizes, tensors[name], strict=True)
    ]
    parts = []
    for name, size, picture in shown:
        height, width = picture.shape[1:]
        red, green, blue = picture.expand(3, -1, -1).flatten(1).double().numpy().round(3)
        columns = {"red": red, "green": green, "blue": blue}
        rows, places = (
            axis.flatten().numpy() for axis in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        )
        parts.append(pd.DataFrame({"picture": name, "displacement": size, "row": rows, "column": places, **columns}))
    return pd.concat(parts, ignore_index=True)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(
    sources: Sources, *, displacement: Sequence[float], cutoff: int = 3, image: int = 15, seed: int = 0
) -> Job:
    """Return the job that deforms a test image, and adds noise to it.

    ``pictures.safetensors`` holds ``image`` ``[C, H, W]``, ``deformed`` and ``noisy``
    ``[displacements, C, H, W]``, values in 0 .. 1 but for the noise, whose norm is that of τx - x in each of them. All
    deformations are the same field at another size.

    Args:
        sources: where images are.
        displacement: true rms displacements in pixels.
        cutoff: highest mode.
        image: its number among the test images.
        seed: of the field and the noise.
    """
    settings = {
        "data": digested(sources.images),
        "displacement": list(displacement),
        "cutoff": cutoff,
        "image": image,
        "seed": seed,
    }
    return Job("pictures", WORK.version, settings)


WORK = Work("pictures", 1, _do)
