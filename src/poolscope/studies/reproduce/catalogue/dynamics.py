"""R, D and G against training time and depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from poolscope.report import Panel, plot_dynamics, plot_layers, plot_training
from poolscope.studies.reproduce.catalogue.networks import VGG, VGGS, vgg
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import Sources, Study, Tables
from poolscope.training.averages import average_over_seeds
from poolscope.training.finished import read_run

if TYPE_CHECKING:
    import pandas as pd


def _runs(settings: VGG, sources: Sources) -> dict[str, Job]:
    return {f"vgg11_bn/{seed}": vgg(settings, sources, seed) for seed in settings.seeds}


def _tables(settings: VGG, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    import pandas as pd

    runs = [read_run(folder) for folder in found.values()]
    measured = [run.sensitivity for run in runs if run.finished and run.sensitivity is not None]
    curves = [run.curve.assign(seed=run.configuration.seed, status=run.outcome["status"]) for run in runs]
    tables = {"curves": pd.concat(curves, ignore_index=True)}
    if measured:
        tables["sensitivity"] = pd.concat(measured, ignore_index=True)
        tables["averages"] = average_over_seeds(tables["sensitivity"])
    return tables


def _panels(tables: Tables) -> list[Panel]:
    if "averages" not in tables:
        return []
    curves, averages = tables["curves"], tables["averages"]
    seeds = int(averages["seeds"].max())
    over = "over images, one training seed" if seeds == 1 else f"over {seeds} seeds"
    panels = [
        Panel("error", "Error of VGG11-bn against epochs.", (5.2, 3.8), lambda ax: plot_training(curves, ax=ax))
    ]
    for displacement, rows in averages.groupby("displacement"):
        panels.append(
            Panel(
                f"epochs-{displacement:g}px",
                f"D, G and R of the output while VGG11-bn learns, {displacement:g} px; bands: 95 % {over}.",
                (5.2, 3.8),
                lambda ax, rows=rows: plot_dynamics(rows, ax=ax),  # type: ignore[misc]
            )
        )
        panels.append(
            Panel(
                f"depth-{displacement:g}px",
                f"R against depth while VGG11-bn learns, {displacement:g} px; bands: 95 % {over}.",
                (5.2, 3.8),
                lambda ax, rows=rows: plot_layers(rows, ax=ax),  # type: ignore[misc]
            )
        )
    return panels


def _words(tables: Tables) -> Sequence[str]:
    if "averages" not in tables:
        return []
    said = []
    outputs = tables["averages"]
    for displacement, rows in outputs[outputs["layer"] == "output"].groupby("displacement"):
        steps = [f"{row['R']:.3g} at epoch {row['epoch']}" for row in rows.sort_values("epoch").to_dict("records")]
        said.append(f"R of the output at {displacement:g} px: {', '.join(steps)}.")
    return said


STUDY = Study(
    name="dynamics",
    title="Sensitivities against training time",
    source="",
    shows="D, G and R of VGG11-bn while it learns: whether R falls with training depends on the epoch it is compared "
    "with, for it can rise before it falls.",
    scales=VGGS,
    runs=_runs,
    tables=_tables,
    panels=_panels,
    words=_words,
)
