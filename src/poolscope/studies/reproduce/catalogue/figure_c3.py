"""Figure C3: test error against D, G and R of the output, of networks trained on images with noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from poolscope.report import Panel
from poolscope.report.noise_correlations import error_grid_size, plot_error_grid
from poolscope.studies.reproduce.catalogue.correlations import correlation
from poolscope.studies.reproduce.catalogue.figure1 import seeds_words
from poolscope.studies.reproduce.catalogue.noisy_networks import (
    NOISY_NETWORKS,
    dead_words,
    noisy_runs,
    noisy_tables,
)
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.study import Study, Tables

if TYPE_CHECKING:
    import pandas as pd


def _panels(tables: Tables) -> list[Panel]:
    panels = []
    for displacement, rows in tables["networks"].groupby("displacement"):
        panels.append(
            Panel(
                f"errors-{displacement:g}px",
                f"Test error against D, G and R of the output at {displacement:g} px (true rms; cutoff 3), a row for "
                "each norm η of the Gaussian noise on training and test images. Deformations and the noise of G act on "
                f"the noisy images. {seeds_words(rows)}",
                error_grid_size(rows),
                lambda ax, rows=rows: plot_error_grid(rows, ax=ax),  # type: ignore[misc]
                layout="wide",
            )
        )
    return panels


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    networks: pd.DataFrame = tables["networks"]
    found: dict[str, list[Estimate]] = {}
    for (eta, displacement), rows in networks[networks["eta"] > 0].groupby(["eta", "displacement"]):
        part = f"η = {eta:g}"
        found.setdefault("error-follows-R-under-noise", []).append(correlation(rows, "R", displacement, part))  # type: ignore[arg-type]
        found.setdefault("error-opposes-G-under-noise", []).append(correlation(rows, "G", displacement, part))  # type: ignore[arg-type]
    return found


def _words(tables: Tables) -> Sequence[str]:
    outcomes = tables["outcomes"]
    said = dead_words(outcomes)
    for eta, rows in outcomes[outcomes["status"] == "finished"].groupby("eta"):
        said.append(f"At η = {eta:g} the errors span {rows['error'].min():.1%} to {rows['error'].max():.1%}.")
    return said


STUDY = Study(
    name="figC3",
    title="Error against sensitivity, noise by noise",
    source="Figure C3",
    shows="The scatters behind the correlations of figure 1, right: each point is a network trained on images with "
    "noise of norm η.",
    scales=NOISY_NETWORKS,
    runs=noisy_runs,
    tables=lambda settings, found: noisy_tables(found),
    panels=_panels,
    estimates=_estimates,
    words=_words,
)
