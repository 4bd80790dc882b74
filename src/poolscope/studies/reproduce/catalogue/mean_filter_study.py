"""Tables C2 and C3 as studies: mean filters of simple CNNs on a task, before and after training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from poolscope.report import Panel
from poolscope.studies.reproduce.catalogue.mean_filters import (
    about_sizes,
    beside_published,
    filter_panels,
    homogeneous,
    positive,
)
from poolscope.studies.reproduce.catalogue.networks import SIMPLE_NETWORKS, SimpleNetworks
from poolscope.studies.reproduce.catalogue.published_filters import Filters
from poolscope.studies.reproduce.catalogue.simple_runs import how_training_ended, runs_of, tables_of, unmeasured
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import Sources, Study, Tables

if TYPE_CHECKING:
    import pandas as pd


def mean_filter_study(
    table: Literal["C2", "C3"],
    which: Literal["task1", "task2"],
    filters: str,
    *,
    published: Mapping[str, Filters],
    positive_layers: int,
    homogeneous_layers: int,
) -> Study:
    """Return the study of one of the two tables.

    Args:
        table: of the paper.
        which: task.
        filters: their size and stride, in words.
        published: the paper's numbers, "initial" and "trained".
        positive_layers: layers whose mean filters are claimed to be positive.
        homogeneous_layers: layers in which they are claimed to be homogeneous.
    """
    task = f"task {which[-1]}"
    claims = (f"positive-filters-{which}", f"homogeneous-filters-{which}")

    def runs(settings: SimpleNetworks, sources: Sources) -> dict[str, Job]:
        return runs_of(settings, sources, (which,))

    def tables(settings: SimpleNetworks, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
        made = tables_of(found, (which,), ("filters",))
        if f"{which}_filters" not in made:
            return made
        own = made.pop(f"{which}_filters")
        channels = settings.width if which == "task1" else settings.task2_width
        return {"beside": beside_published(own, published), "filters": own.assign(channels=channels), **made}

    def panels(made: Tables) -> list[Panel]:
        return filter_panels(made, table, made["filters"]["seed"].nunique()) if "filters" in made else []

    def estimates(made: Tables) -> dict[str, list[Estimate]]:
        if "filters" not in made:
            return unmeasured(made, {claim: (which,) for claim in claims})
        found = (positive(made["filters"], positive_layers), homogeneous(made["filters"], homogeneous_layers))
        return {claim: [estimate] for claim, estimate in zip(claims, found, strict=True)}

    def words(made: Tables) -> list[str]:
        said = how_training_ended(made, (which,))
        if "filters" in made:
            said.append(about_sizes(made["filters"], int(made["filters"]["channels"].iloc[0])))
        return said

    return Study(
        name=f"table{table}",
        title=f"Mean filters on {task}",
        source=f"Table {table}",
        shows=f"The filters of simple CNNs on {task} ({filters}) averaged over channels, before and after training, "
        "beside the numbers that the paper prints. Training makes them positive and nearly homogeneous, which is "
        "pooling of space.",
        scales=SIMPLE_NETWORKS,
        runs=runs,
        tables=tables,
        panels=panels,
        estimates=estimates,
        words=words,
    )
