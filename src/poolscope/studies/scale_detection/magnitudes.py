"""Trained simple CNNs under plain noise of several sizes: G of each layer, and the error on all pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from poolscope.sensitivity import measure
from poolscope.studies.noisy import errors_under_noise, layers_under_noise
from poolscope.studies.scale_detection.measured import moves_of
from poolscope.tasks import parse
from poolscope.training.simple.finished import SimpleRuns

if TYPE_CHECKING:
    import pandas as pd

#: Norms of noise over the rms of |τx - x|.
MAGNITUDES = (0.125, 0.25, 0.5, 1.0, 2.0)


def displacement_norm(runs: SimpleRuns) -> float:
    """Return the rms of |τx - x| over all pairs of the task and all moves of their pixels.

    Raises:
        ValueError: no seed interpolated.
    """
    _check_finished(runs)
    task = parse(runs.experiment.task)[0]
    moves = moves_of(task, "text")
    model = runs.model(runs.finished[0])  # any: the images are what is asked about
    table = measure(
        model,
        task.images(task.pairs),
        moves,
        layers=model.representations[:1],
        draws=moves.combinations(2, task.dim),
        progress=False,
    ).table
    return math.sqrt(float(table["deformation_power"].iloc[0]))


def under_noise(
    runs: SimpleRuns, *, magnitudes: Sequence[float] = MAGNITUDES, name: str = ""
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure every finished seed under plain Gaussian noise of several sizes.

    Args:
        runs: of one experiment.
        magnitudes: norms of the noise over the rms of |τx - x|, positive.
        name: the column ``model`` (default: the activation).

    Returns:
        G of each layer: ``model``, ``seed``, ``magnitude``, ``k``, ``G``, ``G_se``, ``G_scaled`` = G over the square of
        the magnitude, the same at all of them where the network is linear in the noise; and errors on all pairs of the
        task, without noise too (magnitude 0): ``model``, ``seed``, ``magnitude``, ``error``, ``error_se``.

    Raises:
        ValueError: no seed interpolated.
    """
    import pandas as pd

    _check_finished(runs)
    task = parse(runs.experiment.task)[0]
    images, labels = task.images(task.pairs), task.labels_of(task.pairs)
    moves = moves_of(task, "text")
    power = displacement_norm(runs) ** 2
    norms = [magnitude * power**0.5 for magnitude in magnitudes]
    layers, errors = [], []
    for seed in runs.finished:
        model = runs.model(seed)
        first: dict[str, Any] = {"model": name or runs.experiment.activation, "seed": seed}
        table = layers_under_noise(model, images, norms, deformation=moves, layers=model.representations, seed=seed)
        table = table[table["position"] > 0].rename(columns={"position": "k"})
        table = table.assign(magnitude=table["norm"] / power**0.5, G_scaled=table["G"] * power / table["norm"] ** 2)
        layers.append(table.assign(**first))
        table = errors_under_noise(model, images, labels, [0.0, *norms], seed=seed)
        errors.append(table.assign(magnitude=table["norm"] / power**0.5, **first))
    keys = ["model", "seed", "magnitude"]
    return (
        pd.concat(layers, ignore_index=True)[[*keys, "k", "G", "G_se", "G_scaled"]],
        pd.concat(errors, ignore_index=True)[[*keys, "error", "error_se"]],
    )


def _check_finished(runs: SimpleRuns) -> None:
    if not runs.finished:
        said = "; ".join(f"seed {row['seed']}: {row['reason']}" for row in runs.outcomes.to_dict("records"))
        raise ValueError(f"at least one seed must have interpolated, to be measured; got {said}")
