"""Figure C2: D, G and R along networks trained on scale detection in two dimensions, with and without shuffling."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from poolscope.report import Panel, plot_quantity
from poolscope.studies.reproduce.catalogue.networks import TASK_NETWORKS, TaskNetworks, task_network
from poolscope.studies.reproduce.catalogue.reading import below_each_other
from poolscope.studies.reproduce.catalogue.shuffled import share_at_output
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import SCALES, Sources, Study, Tables
from poolscope.studies.reproduce.work.pooled import pooled

if TYPE_CHECKING:
    import pandas as pd

_NETWORKS = ("alexnet", "vgg11", "vgg11_bn")


class FigureC2(TaskNetworks):
    """Networks on the task, and how often their channels are shuffled.

    Attributes:
        shuffles: of channels.
    """

    shuffles: int


def _runs(settings: FigureC2, sources: Sources) -> dict[str, Job]:
    found = {}
    for name in (each for each in _NETWORKS if each in settings.networks):
        found[name] = task_network(settings, sources, name, settings.seeds[0])
        found[f"{name}-pooled"] = pooled(found[name], images=settings.measured, draws=settings.shuffles)
    return found


def _tables(settings: FigureC2, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    return below_each_other(found, "-pooled", ("measurement", "shares"))


def _panels(tables: Tables) -> list[Panel]:
    if "measurement" not in tables:
        return []
    rows = tables["measurement"]
    panels = []
    for model, own in rows.groupby("model", sort=False):
        name = str(model).rpartition(":")[2]
        for quantity in "DGR":
            panels.append(
                Panel(
                    f"{name}-{quantity}",
                    f"{quantity} along {name}, trained on scale detection (task 1 in two dimensions; pixels move to a "
                    f"neighbour or stay); one training seed, bands: 95 % over images. Dashed: shuffled channels, thin "
                    "lines each shuffle; dotted: before training.",
                    (4.6, 3.9),
                    lambda ax, own=own, quantity=quantity: plot_quantity(own, quantity, ax=ax),  # type: ignore[misc]
                )
            )
    return panels


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    if "shares" not in tables:
        return {}
    return {"shuffling-nothing-on-the-task": share_at_output(tables["shares"], displaced=False)}


STUDY = Study(
    name="figC2",
    title="Sensitivities along networks trained on scale detection",
    source="Figure C2",
    shows="Deep networks on the task in two dimensions lose deformations and gain noise along their layers; dashed are "
    "the same networks with shuffled channels, which the text calls essentially unaltered.",
    scales={
        scale: FigureC2(**TASK_NETWORKS[scale], shuffles={"smoke": 2, "laptop": 4, "paper": 8}[scale])
        for scale in SCALES
    },
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
)
