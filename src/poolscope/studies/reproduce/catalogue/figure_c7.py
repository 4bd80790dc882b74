"""Figure C7: the filters of AlexNet (and LeNet) trained on CIFAR-10 and on scale detection, in spatial frequencies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from poolscope.report import Panel
from poolscope.studies.reproduce.catalogue import figure4, figure_c2, figure_c4
from poolscope.studies.reproduce.catalogue.filters import frequency_ratios, levels_panel
from poolscope.studies.reproduce.catalogue.outcomes import outcome_words
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import SCALES, Settings, Sources, Study, Tables

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
    task = settings.task
    return figure_c4.other_runs(settings.images, sources) | figure4.task_runs(
        task, sources, ("alexnet",), task.shuffles
    )


def _tables(settings: FigureC7, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    return figure4.filter_tables(found)


def _panels(tables: Tables) -> list[Panel]:
    panels = []
    for name, words in (("spectrum", "CIFAR-10"), ("task_spectrum", "scale detection")):
        if name in tables:
            for network, rows in tables[name].groupby("network", sort=False):
                file = f"{network}-{words.replace(' ', '-')}"
                panels.append(levels_panel(rows, file, f"{network}, trained on {words}"))
    return panels


def _words(tables: Tables) -> list[str]:
    return outcome_words(tables["outcomes"])


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    found = []
    for name, words in (("frequency", "CIFAR-10"), ("task_frequency", "scale detection")):
        if name not in tables:
            continue
        ratios = frequency_ratios(tables[name], "alexnet", _INNER)
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
    words=_words,
)
