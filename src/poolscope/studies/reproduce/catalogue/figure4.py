"""Figure 4: the filters of VGG11 trained on CIFAR-10 and on scale detection, in spatial frequencies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from poolscope.report import Panel
from poolscope.studies.reproduce.catalogue.figure3 import vgg_runs, with_seeds
from poolscope.studies.reproduce.catalogue.figure_c2 import STUDY as FIGURE_C2
from poolscope.studies.reproduce.catalogue.filters import constant_share, frequency_ratios, panels_of
from poolscope.studies.reproduce.catalogue.networks import TASK_NETWORKS, VGG, VGGS, TaskNetworks, task_network
from poolscope.studies.reproduce.catalogue.reading import below_each_other
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import SCALES, Settings, Sources, Study, Tables
from poolscope.studies.reproduce.work.pooled import pooled

if TYPE_CHECKING:
    import pandas as pd

_IMAGES = ("vgg11_bn-main", "vgg11", "vgg11_bn")
_TASK = ("vgg11", "vgg11_bn")
_LOW, _OTHERS = range(2, 7), (1, 7, 8)


class Figure4(Settings):
    """Networks on images and on the task.

    Attributes:
        images: those on CIFAR-10.
        task: those on scale detection.
        shuffles: of the latter's channels, as in figure C2, whose runs are the same.
    """

    images: VGG
    task: TaskNetworks
    shuffles: int


def _runs(settings: Figure4, sources: Sources) -> dict[str, Job]:
    found = vgg_runs(settings.images, sources)
    task = settings.task
    for name in (each for each in _TASK if each in task.networks):
        job = task_network(task, sources, name, task.seeds[0])
        found[f"{name}/0-task"] = pooled(job, images=task.measured, draws=settings.shuffles)
    return found


def _tables(settings: Figure4, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    names = ("spectrum", "frequency")
    tables = with_seeds(below_each_other(found, "-pooled", names))
    task = with_seeds(below_each_other(found, "-task", names))
    return tables | {f"task_{name}": table for name, table in task.items()}


def _panels(tables: Tables) -> list[Panel]:
    panels = []
    for name, words in (("spectrum", "trained on CIFAR-10"), ("task_spectrum", "trained on scale detection")):
        if name in tables:
            rows = tables[name]
            rows = rows[rows["seed"] == rows["seed"].min()]
            prefix = "task-" if name.startswith("task") else ""
            panels += [
                Panel(prefix + panel.name, panel.caption, panel.size, panel.draw, panel.alt)
                for panel in panels_of(rows, words)
            ]
    return panels


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    found: dict[str, list[Estimate]] = {}
    if "frequency" in tables:
        frequency = tables["frequency"]
        frequency = frequency[frequency["seed"] == frequency["seed"].min()]
        for network in _IMAGES:
            found.setdefault("low-pass-2-to-6", []).extend(frequency_ratios(frequency, network, _LOW))
            found.setdefault("not-low-pass-1-7-8", []).extend(frequency_ratios(frequency, network, _OTHERS))
    if "task_spectrum" in tables:
        shares = [constant_share(tables["task_spectrum"], network, range(1, 8)) for network in _TASK]
        found["constant-mode-on-the-task"] = [share for share in shares if share is not None]
    return found


STUDY = Study(
    name="fig4",
    title="The filters of VGG11 in spatial frequencies",
    source="Figure 4",
    shows="How much power filters hold in each spatial frequency, before and after training: filters that average over "
    "space hold it in the constant mode, and those are what spatial pooling is made of.",
    scales={
        scale: Figure4(
            images=VGGS[scale],
            task=TaskNetworks(**TASK_NETWORKS[scale]),
            shuffles=FIGURE_C2.scales[scale].model_dump()["shuffles"],
        )
        for scale in SCALES
    },
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
)
