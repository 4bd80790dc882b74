"""Table C3: mean filters of simple CNNs on task 2 (F = 2, stride 2), before and after training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from poolscope.report import Panel
from poolscope.studies.reproduce.catalogue.mean_filters import (
    about_sizes,
    beside_published,
    filter_panels,
    homogeneous,
    positive,
)
from poolscope.studies.reproduce.catalogue.networks import SIMPLE_NETWORKS, SimpleNetworks
from poolscope.studies.reproduce.catalogue.published_filters import C3_INITIAL, C3_TRAINED
from poolscope.studies.reproduce.catalogue.simple_runs import Which, how_training_ended, runs_of, tables_of, unmeasured
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import Sources, Study, Tables

if TYPE_CHECKING:
    import pandas as pd

_POSITIVE = 7  # layers whose mean filters are claimed to be positive
_HOMOGENEOUS = 4  # layers in which they are claimed to be homogeneous

_NEEDS: dict[str, tuple[Which, ...]] = {
    "positive-filters-task2": ("task2",), "homogeneous-filters-task2": ("task2",),
}  # fmt: skip


def _runs(settings: SimpleNetworks, sources: Sources) -> dict[str, Job]:
    return runs_of(settings, sources, ("task2",))


def _tables(settings: SimpleNetworks, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    tables = tables_of(found, ("task2",), ("filters",))
    if "task2_filters" not in tables:
        return tables
    filters = tables.pop("task2_filters")
    beside = beside_published(filters, {"initial": C3_INITIAL, "trained": C3_TRAINED})
    return {"beside": beside, "filters": filters.assign(channels=settings.width), **tables}


def _panels(tables: Tables) -> list[Panel]:
    if "filters" not in tables:
        return []
    return filter_panels(tables, "C3", tables["filters"]["seed"].nunique())


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    if "filters" not in tables:
        return unmeasured(tables, _NEEDS)
    filters = tables["filters"]
    return {
        "positive-filters-task2": [positive(filters, _POSITIVE)],
        "homogeneous-filters-task2": [homogeneous(filters, _HOMOGENEOUS)],
    }


def _words(tables: Tables) -> list[str]:
    said = how_training_ended(tables, ("task2",))
    if "filters" in tables:
        said.append(about_sizes(tables["filters"], int(tables["filters"]["channels"].iloc[0])))
    return said


STUDY = Study(
    name="tableC3",
    title="Mean filters on task 2",
    source="Table C3",
    shows="The filters of simple CNNs on task 2 (F = 2, stride 2) averaged over channels, before and after "
    "training, beside the numbers that the paper prints. Training makes them positive and nearly "
    "homogeneous, which is pooling of space.",
    scales=SIMPLE_NETWORKS,
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
    words=_words,
)
