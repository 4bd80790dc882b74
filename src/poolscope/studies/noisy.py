"""What noise does to a network's answers, and to its layers, as it grows: is an activation odd where noise is small?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from poolscope.perturb import GaussianNoise, Mover
from poolscope.sensitivity import measure
from poolscope.training.seeds import stream

if TYPE_CHECKING:
    import pandas as pd

_BATCH = 512


def errors_under_noise(
    model: nn.Module,
    images: Float[Tensor, "images channels *size"],
    labels: Int64[Tensor, images],
    norms: Sequence[float],
    *,
    draws: int = 4,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the share of images classified wrongly under plain Gaussian noise.

    Args:
        model: of one output, whose sign tells +1 from -1, or of one for each class.
        images: as the model takes them.
        labels: class numbers, or +1 and -1 for one output.
        norms: rms norms of the noise on an image; 0 for none. All have the same noise, scaled.
        draws: of noise for each image.
        seed: of the noise.

    Returns:
        One row a norm: ``norm``, ``error`` over all images and draws, ``error_se``, its standard error over images.
    """
    import pandas as pd

    scale = images[0].numel() ** -0.5
    wrong = torch.zeros(len(norms), len(images), dtype=torch.float64)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for draw in range(draws):
                generator = stream(seed, "noise on images", draw)
                for start in range(0, len(images), _BATCH):
                    part = images[start : start + _BATCH]
                    noise = torch.randn(part.shape, generator=generator) * scale
                    for number, norm in enumerate(norms):
                        outputs = model(part + norm * noise)
                        right = labels[start : start + _BATCH]
                        if outputs.shape[1] == 1:
                            missed = outputs[:, 0] * right <= 0
                        else:
                            missed = outputs.argmax(1) != right
                        wrong[number, start : start + _BATCH] += missed / draws
    finally:
        model.train(was_training)
    errors = wrong.std(1) / len(images) ** 0.5
    return pd.DataFrame({"norm": list(norms), "error": wrong.mean(1).tolist(), "error_se": errors.tolist()})


def layers_under_noise(
    model: nn.Module,
    images: Float[Tensor, "images channels *size"],
    norms: Sequence[float],
    *,
    deformation: Mover,
    layers: str | Sequence[str] = "auto",
    draws: int = 4,
    seed: int = 0,
) -> pd.DataFrame:
    """Return G of each layer for noise of several norms, over the square of the norm's ratio to the first.

    A layer that is linear in the noise has the same number at every norm: ``G_scaled`` = G (first norm / norm)².

    Args:
        model: any.
        images: as the model takes them.
        norms: rms norms of plain Gaussian noise on an image, positive.
        deformation: of the same measurement, which changes no G.
        layers: as for ``measure``.
        draws: of noise for each image.
        seed: of the noise, the same for all norms.

    Returns:
        One row a norm and layer: ``norm``, ``layer``, ``position``, ``G``, ``G_se``, ``G_scaled``.
    """
    import pandas as pd

    tables = []
    for norm in norms:
        table = measure(
            model, images, deformation, GaussianNoise(norm), layers=layers, draws=draws, seed=seed, progress=False
        ).table
        table.insert(0, "norm", norm)
        table["G_scaled"] = table["G"] * (norms[0] / norm) ** 2
        tables.append(table[["norm", "layer", "position", "G", "G_se", "G_scaled"]])
    return pd.concat(tables, ignore_index=True)
