"""Figure C5: the mean spatial frequency of filters, layer by layer, of several networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from poolscope.report import Panel, plot_frequency
from poolscope.studies.reproduce.catalogue import figure4, figure_c7
from poolscope.studies.reproduce.catalogue.outcomes import outcome_words
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import SCALES, Settings, Sources, Study, Tables

if TYPE_CHECKING:
    import pandas as pd


class FigureC5(Settings):
    """The networks of figures 4 and C7.

    Attributes:
        vgg: as figure 4 has them.
        others: as figure C7 has them.
    """

    vgg: figure4.Figure4
    others: figure_c7.FigureC7


def _runs(settings: FigureC5, sources: Sources) -> dict[str, Job]:
    return figure4.STUDY.runs(settings.vgg, sources) | figure_c7.STUDY.runs(settings.others, sources)


def _tables(settings: FigureC5, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    return figure4.filter_tables(found)


def _panels(tables: Tables) -> list[Panel]:
    panels = []
    for name, words in (("spectrum", "CIFAR-10"), ("task_spectrum", "scale detection")):
        if name in tables:
            rows = tables[name]
            rows = rows[rows["seed"] == rows.groupby("network")["seed"].transform("min")]
            rows = rows.drop(columns=["seed", "model"]).rename(columns={"network": "model"})
            panels.append(
                Panel(
                    f"frequency-{words.replace(' ', '-')}",
                    f"Mean frequency of each layer's filters, trained on {words}; 1 for white filters, below for "
                    "low-pass ones (the published formula, in which N is the number F² of modes). Dotted: before "
                    "training. One training seed each; bands: 95 % over filters.",
                    (5.6, 4.4),
                    lambda ax, rows=rows: plot_frequency(rows, ax=ax),  # type: ignore[misc]
                )
            )
    return panels


def _words(tables: Tables) -> list[str]:
    return outcome_words(tables["outcomes"])


STUDY = Study(
    name="figC5",
    title="Mean frequency of filters by layer",
    source="Figure C5",
    shows="One number a layer: the mean spatial frequency of its filters. Below 1 they are low-pass, and pool.",
    scales={
        scale: FigureC5(vgg=figure4.STUDY.scales[scale], others=figure_c7.STUDY.scales[scale])  # type: ignore[arg-type]
        for scale in SCALES
    },
    runs=_runs,
    tables=_tables,
    panels=_panels,
    words=_words,
)
