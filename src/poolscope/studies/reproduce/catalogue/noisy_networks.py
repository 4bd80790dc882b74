"""Networks trained on images with noise of several magnitudes: error and sensitivities of each (figures 1 and C3)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from poolscope.studies.architectures import at_output
from poolscope.studies.reproduce.catalogue.networks import IMAGE_NETWORKS, ImageNetworks, image_network
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import Scale, Sources
from poolscope.training.finished import Run, read_run

if TYPE_CHECKING:
    import pandas as pd

_NETWORKS = (
    "model", "eta", "seed", "displacement", "cutoff", "error", "epoch", "D", "G", "R", "D_se", "G_se", "R_se", "note",
    "moved",
)  # fmt: skip


class NoisyNetworks(ImageNetworks):
    """Networks trained on CIFAR-10 with noise.

    Attributes:
        etas: norms η of the noise on an image, in normalised pixels; 0 for none. A deformation of 0.816 px moves an
            image of CIFAR-10 by about 19.
        noisy_seeds: of the networks trained with noise.
    """

    etas: tuple[float, ...] = Field(min_length=1)
    noisy_seeds: tuple[int, ...] = Field(min_length=1)


NOISY_NETWORKS: dict[Scale, NoisyNetworks] = {
    "smoke": NoisyNetworks(**IMAGE_NETWORKS["smoke"], etas=(0, 10), noisy_seeds=(0,)),
    "laptop": NoisyNetworks(**IMAGE_NETWORKS["laptop"], etas=(0, 10, 30), noisy_seeds=(0,)),
    "paper": NoisyNetworks(**IMAGE_NETWORKS["paper"], etas=(0, 0.01, 0.1, 1, 10, 30, 100), noisy_seeds=(0, 1, 2, 3, 4)),
}


def noisy_runs(settings: NoisyNetworks, sources: Sources) -> dict[str, Job]:
    """Return the jobs that train each network at each noise, one a seed, by ``NAME/ETA/SEED``."""
    return {
        f"{name}/{eta:g}/{seed}": image_network(settings, sources, name, seed, eta=eta)
        for eta in settings.etas
        for name in settings.networks
        for seed in (settings.noisy_seeds if eta else settings.seeds)
    }


def noisy_tables(found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    """Return three tables of finished runs; runs that are not of `noisy_runs` are passed over.

    - ``networks``: one row a network, ``eta``, seed and displacement: ``error`` on test images with the same noise, of
      the epoch that the validation images chose, D, G and R of the output at the last epoch, on noisy test images, and
      ``moved``, the root mean square of ‖τx - x‖ over these. Dead runs are left out.
    - ``initial``: the same at epoch 0; the error is still the trained network's.
    - ``outcomes``: one row a run, dead ones too: ``status``, ``reason``, ``error``, ``last_error``.
    """
    import pandas as pd

    trained, initial, outcomes = [], [], []
    for label, folder in found.items():
        if label.count("/") != 2:
            continue
        name, eta, seed = label.split("/")
        run = read_run(folder)
        which = {"model": name, "eta": float(eta)}
        outcomes.append({**which, "seed": int(seed), **_outcome(run)})
        if run.finished and run.sensitivity is not None:
            trained += [{**which, **row} for row in _rows(run, None)]
            initial += [{**which, **row} for row in _rows(run, 0)]
    columns = list(_NETWORKS)
    return {
        "networks": pd.DataFrame(trained, columns=columns),
        "initial": pd.DataFrame(initial, columns=columns),
        "outcomes": pd.DataFrame(outcomes),
    }


def dead_words(outcomes: pd.DataFrame) -> list[str]:
    """Return a sentence that names the runs left out, if there are any."""
    dead = outcomes[outcomes["status"] != "finished"]
    if dead.empty:
        return []
    named = (f"{row['model']} at η = {row['eta']:g} (seed {row['seed']})" for row in dead.to_dict("records"))
    return [
        f"{len(dead)} of {len(outcomes)} runs ended at chance, or without finite numbers, and are left out: "
        f"{', '.join(named)}."
    ]


def _outcome(run: Run) -> dict[str, object]:
    keys = ("status", "reason", "epochs", "best_epoch", "training_error")
    errors = {"error": run.outcome["best_test_error"], "last_error": run.outcome["last_test_error"]}
    return {**{key: run.outcome[key] for key in keys}, **errors}


def _rows(run: Run, epoch: int | None) -> list[dict[str, object]]:
    assert run.sensitivity is not None
    at_input = run.sensitivity[run.sensitivity["layer"] == "input"]
    moved = np.sqrt(at_input.groupby("displacement")["deformation_power"].first())
    return [{**row, "moved": float(moved.loc[row["displacement"]])} for row in at_output(run, epoch)]
