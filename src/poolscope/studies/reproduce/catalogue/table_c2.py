"""Table C2: mean filters of simple CNNs on task 1 (F = 3, stride 1), before and after training."""

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
from poolscope.studies.reproduce.catalogue.published_filters import C2_INITIAL, C2_TRAINED
from poolscope.studies.reproduce.catalogue.simple_runs import Which, how_training_ended, runs_of, tables_of, unmeasured
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import Sources, Study, Tables

if TYPE_CHECKING:
    import pandas as pd

_POSITIVE = 9  # layers whose mean filters are claimed to be positive
_HOMOGENEOUS = 7  # layers in which they are claimed to be homogeneous

_NEEDS: dict[str, tuple[Which, ...]] = {
    "positive-filters-task1": ("task1",), "homogeneous-filters-task1": ("task1",),
}  # fmt: skip


def _runs(settings: SimpleNetworks, sources: Sources) -> dict[str, Job]:
    return runs_of(settings, sources, ("task1",))


def _tables(settings: SimpleNetworks, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    tables = tables_of(found, ("task1",), ("filters",))
    if "task1_filters" not in tables:
        return tables
    filters = tables.pop("task1_filters")
    beside = beside_published(filters, {"initial": C2_INITIAL, "trained": C2_TRAINED})
    return {"beside": beside, "filters": filters.assign(channels=settings.width), **tables}


def _panels(tables: Tables) -> list[Panel]:
    if "filters" not in tables:
        return []
    return filter_panels(tables, "C2", tables["filters"]["seed"].nunique())


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    if "filters" not in tables:
        return unmeasured(tables, _NEEDS)
    filters = tables["filters"]
    return {
        "positive-filters-task1": [positive(filters, _POSITIVE)],
        "homogeneous-filters-task1": [homogeneous(filters, _HOMOGENEOUS)],
    }


def _words(tables: Tables) -> list[str]:
    said = how_training_ended(tables, ("task1",))
    if "filters" in tables:
        said.append(about_sizes(tables["filters"], int(tables["filters"]["channels"].iloc[0])))
    return said


STUDY = Study(
    name="tableC2",
    title="Mean filters on task 1",
    source="Table C2",
    shows="The filters of simple CNNs on task 1 (F = 3, stride 1) averaged over channels, before and after "
    "training, beside the numbers that the paper prints. Training makes them positive and nearly "
    "homogeneous, which is pooling of space.",
    scales=SIMPLE_NETWORKS,
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
    words=_words,
)
