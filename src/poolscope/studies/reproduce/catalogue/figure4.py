"""Figure 4: the filters of VGG11 trained on CIFAR-10 and on scale detection, in spatial frequencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from poolscope.report import Panel
from poolscope.studies.reproduce.catalogue.figure3 import vgg_runs
from poolscope.studies.reproduce.catalogue.figure_c2 import STUDY as FIGURE_C2
from poolscope.studies.reproduce.catalogue.filters import constant_share, frequency_ratios, levels_panel
from poolscope.studies.reproduce.catalogue.networks import TASK_NETWORKS, VGG, VGGS, TaskNetworks, task_network
from poolscope.studies.reproduce.catalogue.outcomes import ON_TASK, by_seed, outcome_words, outcomes
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
    return vgg_runs(settings.images, sources) | task_runs(settings.task, sources, _TASK, settings.shuffles)


def task_runs(settings: TaskNetworks, sources: Sources, names: Sequence[str], shuffles: int) -> dict[str, Job]:
    """Return networks on the task and what is measured of each, as for figure C2.

    Args:
        settings: of the networks.
        sources: where images are.
        names: which, those alone that are in the settings.
        shuffles: of channels.

    Returns:
        Jobs by ``NAME/SEED-task``, and with ``-measured`` behind it.
    """
    found = {}
    for name in (each for each in names if each in settings.networks):
        for seed in settings.seeds:
            job = task_network(settings, sources, name, seed)
            found[f"{name}/{seed}{ON_TASK}"] = job
            found[f"{name}/{seed}{ON_TASK}-measured"] = pooled(job, images=settings.measured, draws=shuffles)
    return found


def filter_tables(found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    """Return ``spectrum`` and ``frequency`` of networks on images, ``task_…`` of those on the task, ``outcomes``."""
    names = ("spectrum", "frequency")
    task = by_seed(found, f"{ON_TASK}-measured", names)
    images = by_seed(found, "-pooled", names)
    return {**images, **{f"task_{name}": table for name, table in task.items()}, "outcomes": outcomes(found)}


def _tables(settings: Figure4, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    return filter_tables(found)


def _panels(tables: Tables) -> list[Panel]:
    panels = []
    if "spectrum" in tables:
        words = "VGG11 with and without batch norm, trained on CIFAR-10"
        panels.append(levels_panel(tables["spectrum"], "images", words))
    if "task_spectrum" in tables:
        words = "VGG11 with and without batch norm, trained on scale detection (task 1 in two dimensions)"
        panels.append(levels_panel(tables["task_spectrum"], "task", words))
    return panels


def _words(tables: Tables) -> list[str]:
    return outcome_words(tables["outcomes"])


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    found: dict[str, list[Estimate]] = {}
    if "frequency" in tables:
        frequency = tables["frequency"]
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
    words=_words,
)
