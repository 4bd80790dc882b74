"""Figure C4: R along LeNet and AlexNet on CIFAR-10, trained and with shuffled channels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolscope.report import Panel, plot_quantity
from poolscope.studies.reproduce.catalogue.along import slopes
from poolscope.studies.reproduce.catalogue.networks import DISPLACEMENTS, IMAGE_NETWORKS, ImageNetworks, image_network
from poolscope.studies.reproduce.catalogue.outcomes import by_seed, outcome_words, outcomes
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import SCALES, Scale, Sources, Study, Tables
from poolscope.studies.reproduce.work.pooled import pooled

if TYPE_CHECKING:
    import pandas as pd

_NETWORKS = ("lenet", "alexnet")


class FigureC4(ImageNetworks):
    """Networks on CIFAR-10, and how often their channels are shuffled.

    Attributes:
        shuffles: of channels.
    """

    shuffles: int


def settings_of(scale: Scale) -> dict[str, Any]:
    """Return the fields of a scale; AlexNet, which smoke leaves out elsewhere, is always among the networks."""
    fields = IMAGE_NETWORKS[scale]
    networks = tuple(dict.fromkeys((*_NETWORKS, *fields["networks"])))
    return {**fields, "networks": networks, "shuffles": {"smoke": 2, "laptop": 4, "paper": 8}[scale]}


def other_runs(settings: FigureC4, sources: Sources) -> dict[str, Job]:
    """Return LeNet and AlexNet and what is measured of each: ``NAME/SEED``, and with ``-pooled`` behind it."""
    found = {}
    for name in _NETWORKS:
        for seed in settings.seeds[:1] if settings.budget == "laptop" else settings.seeds:
            job = image_network(settings, sources, name, seed)
            found[f"{name}/{seed}"] = job
            found[f"{name}/{seed}-pooled"] = pooled(
                job, displacement=DISPLACEMENTS, images=settings.measured, draws=settings.shuffles
            )
    return found


def _tables(settings: FigureC4, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    return {**by_seed(found, "-pooled", ("measurement", "shares")), "outcomes": outcomes(found)}


def _panels(tables: Tables) -> list[Panel]:
    if "measurement" not in tables:
        return []
    panels = []
    for (network, displacement), rows in tables["measurement"].groupby(["network", "displacement"], sort=False):
        own = rows[rows["seed"] == rows["seed"].min()]
        panels.append(
            Panel(
                f"{network}-R-{displacement:g}px",
                f"R along {network} at {displacement:g} px (true rms; cutoff 3). Solid: trained; dotted: before "
                "training; dashed: shuffled channels, thin lines each shuffle. One training seed; bands: 95 % over "
                f"{int(own['images'].iloc[0])} test images.",
                (4.6, 3.9),
                lambda ax, own=own: plot_quantity(own, "R", ax=ax),  # type: ignore[misc]
            )
        )
    return panels


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    if "measurement" not in tables:
        return {}
    rows = tables["measurement"]
    found: list[Estimate] = []
    for network, own in rows[rows["variant"] == "trained"].groupby("network", sort=False):
        found += slopes(own, "R", part=str(network))
    return {"falls-in-others-too": found}


def _words(tables: Tables) -> list[str]:
    return outcome_words(tables["outcomes"])


STUDY = Study(
    name="figC4",
    title="R along LeNet and AlexNet",
    source="Figure C4, left",
    shows="R along the layers of LeNet and AlexNet trained on CIFAR-10, and along the same networks with shuffled "
    "channels.",
    scales={scale: FigureC4(**settings_of(scale)) for scale in SCALES},
    runs=other_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
    words=_words,
)
