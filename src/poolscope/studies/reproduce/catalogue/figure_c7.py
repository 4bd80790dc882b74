"""Figure C7: the filters of AlexNet (and LeNet) trained on CIFAR-10 and on scale detection, in spatial frequencies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from poolscope.report import Panel
from poolscope.studies.reproduce.catalogue import figure_c2, figure_c4
from poolscope.studies.reproduce.catalogue.figure3 import with_seeds
from poolscope.studies.reproduce.catalogue.filters import frequency_ratios, panels_of
from poolscope.studies.reproduce.catalogue.networks import task_network
from poolscope.studies.reproduce.catalogue.reading import below_each_other
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import SCALES, Settings, Sources, Study, Tables
from poolscope.studies.reproduce.work.pooled import pooled

if TYPE_CHECKING:
    import pandas as pd

_INNER = range(2, 5)  # AlexNet has five convolutions


class FigureC7(Settings):
    """The networks of figures C4 and C2.

    Attributes:
        images: those on CIFAR-10.
        task: AlexNet on scale detection.
    """

    images: figure_c4.FigureC4
    task: figure_c2.FigureC2


def _runs(settings: FigureC7, sources: Sources) -> dict[str, Job]:
    found = figure_c4.other_runs(settings.images, sources)
    task = settings.task
    if "alexnet" in task.networks:
        job = task_network(task, sources, "alexnet", task.seeds[0])
        found["alexnet/0-task"] = pooled(job, images=task.measured, draws=task.shuffles)
    return found


def _tables(settings: FigureC7, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
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
    found = []
    for name, words in (("frequency", "CIFAR-10"), ("task_frequency", "scale detection")):
        if name not in tables:
            continue
        frequency = tables[name]
        frequency = frequency[frequency["seed"] == frequency["seed"].min()]
        ratios = frequency_ratios(frequency, "alexnet", _INNER)
        if ratios:
            least = min(ratios, key=lambda each: each.value)
            note = f"of layers 2 to 4 the least, at {least.part}; {least.note}"
            found.append(Estimate(least.value, least.low, least.high, None, words, least.interval, note))
    return {"low-pass-elsewhere": found}


STUDY = Study(
    name="figC7",
    title="The filters of AlexNet in spatial frequencies",
    source="Figure C7",
    shows="How much power AlexNet's filters hold in each spatial frequency, trained on CIFAR-10 and on scale "
    "detection; LeNet's beside them.",
    scales={
        scale: FigureC7(images=figure_c4.STUDY.scales[scale], task=figure_c2.STUDY.scales[scale])  # type: ignore[arg-type]
        for scale in SCALES
    },
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
)
