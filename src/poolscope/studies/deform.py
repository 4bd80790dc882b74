"""A photograph under deformations: what temperature and cutoff mean, and where the published range lies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from poolscope.perturb import Diffeomorphism, temperature_range
from poolscope.report import plot_deformations, save_figure

if TYPE_CHECKING:
    import pandas as pd

#: Displacements shown, as multiples of the image side: from invisible to absurd.
_DISPLACEMENTS = (0.004, 0.01, 0.025, 0.06, 0.12)


def run(
    out: Path, image: Path | None, *, size: int, cutoffs: list[int], seed: int = 0
) -> tuple[list[Path], pd.DataFrame]:
    """Draw a grid of deformed copies of a picture; rows are temperatures, columns cutoffs.

    The rows' temperatures are those of a few displacements at the middle cutoff; pictures whose temperature lies in the
    published range T1 .. T2 at their cutoff are framed.

    Args:
        out: an existing folder; ``deformations.png`` and ``.pdf`` are written there.
        image: an image file (default: one of scikit-learn's digits).
        size: pixels per side.
        cutoffs: highest modes, each 2 or more (the published range divides by ln c).
        seed: of the fields.

    Returns:
        The files written, and a table of temperature, cutoff, displacement (pixels), share of draws that fold, and
        whether the published range allows it.

    Raises:
        FileNotFoundError, ValueError: no such image, or one that cannot be read; a cutoff that the size does not
            resolve.
    """
    import pandas as pd

    picture = _read(image, size)
    middle = sorted(cutoffs)[len(cutoffs) // 2]
    temperatures = [Diffeomorphism(share * size, middle).temperature((size, size)) for share in _DISPLACEMENTS]
    pictures: list[list[Tensor]] = []
    allowed: list[list[bool]] = []
    rows = []
    for temperature in temperatures:
        pictures.append([])
        allowed.append([])
        for cutoff in cutoffs:
            lowest, highest = temperature_range(size, cutoff)
            ensemble = Diffeomorphism(temperature=temperature, cutoff=cutoff, fold="ignore")
            pictures[-1].append(ensemble(picture, generator=torch.Generator().manual_seed(seed)))
            allowed[-1].append(lowest <= temperature <= highest)
            rows.append(
                {
                    "temperature": temperature,
                    "cutoff": cutoff,
                    "displacement": ensemble.displacement((size, size)),
                    "folds": ensemble.fold_probability((size, size)),
                    "allowed": allowed[-1][-1],
                }
            )
    figure = plot_deformations(
        pictures,
        rows=[f"T = {temperature:.1e}" for temperature in temperatures],
        columns=[f"cutoff {cutoff}" for cutoff in cutoffs],
        allowed=allowed,
        title="maximum-entropy deformations; green frame: temperature in the published range",
    )
    return save_figure(figure, out / "deformations"), pd.DataFrame(rows)


def _read(image: Path | None, size: int) -> Tensor:
    if image is None:
        from poolscope.datasets import load_images

        return load_images("digits", size=size, count=1, normalize="none")[0]
    import PIL.Image

    from poolscope.datasets.transform import plain, resize_and_cut, to_tensor
    from poolscope.networks import Preprocessing

    if not image.is_file():
        raise FileNotFoundError(f"the image must be a file; {image} is not there")
    try:
        with PIL.Image.open(image) as file:
            file.load()
            picture = plain(file)
    except (PIL.UnidentifiedImageError, OSError) as error:
        raise ValueError(f"the image must be a picture that can be decoded; {image}: {error}") from None
    wanted = Preprocessing((size, size), mean=None, std=None, channels=3, resize=(size, size))
    return to_tensor(resize_and_cut(picture, wanted))
