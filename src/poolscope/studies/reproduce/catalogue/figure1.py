"""Figure 1: an image and its deformations; test error against R; correlations of error with D, G, R under noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolscope.report import Panel, plot_architectures
from poolscope.report.deformed import deformed_size, plot_deformed
from poolscope.report.noise_correlations import plot_noise_correlations
from poolscope.studies.points import FEWEST
from poolscope.studies.reproduce.catalogue.correlations import correlation, learned, strongest
from poolscope.studies.reproduce.catalogue.networks import DISPLACEMENTS
from poolscope.studies.reproduce.catalogue.noisy_networks import (
    NOISY_NETWORKS,
    NoisyNetworks,
    dead_words,
    noisy_runs,
    noisy_tables,
)
from poolscope.studies.reproduce.claim import PUBLISHED, Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import Sources, Study, Tables
from poolscope.studies.reproduce.work.pictures import pictures, read_pictures

if TYPE_CHECKING:
    import pandas as pd


def _runs(settings: NoisyNetworks, sources: Sources) -> dict[str, Job]:
    return {"pictures": pictures(sources, displacement=DISPLACEMENTS), **noisy_runs(settings, sources)}


def _tables(settings: NoisyNetworks, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    tables = noisy_tables(found)
    if "pictures" in found:
        tables["pictures"] = read_pictures(found["pictures"])
    if len(tables["networks"]):
        tables["correlations"] = _correlations(tables["networks"])
    return tables


def _correlations(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the correlations of log error with log D, G, R at each noise and displacement."""
    import pandas as pd

    rows = []
    for (eta, displacement), own in networks.groupby(["eta", "displacement"]):
        for quantity in ("D", "G", "R"):
            found = correlation(own, quantity, displacement)  # type: ignore[arg-type]
            rows.append(
                {
                    "eta": eta,
                    "displacement": displacement,
                    "moved": own["moved"].mean(),
                    "quantity": quantity,
                    "correlation": found.value,
                    "low": found.low,
                    "high": found.high,
                    "networks": own["model"].nunique(),
                }
            )
    return pd.DataFrame(rows)


def _panels(tables: Tables) -> list[Panel]:
    panels = []
    if "pictures" in tables:
        pixels = tables["pictures"]
        panels.append(
            Panel(
                "deformations",
                "Left: a test image x. Above: x deformed by one and the same smooth random field (cutoff 3) at half, "
                "once and twice the published displacement (true rms, in pixels). Below: x with noise; in each column "
                "its norm is that of τx − x above, as for R.",
                deformed_size(pixels),
                lambda ax: plot_deformed(pixels, ax=ax),
                layout="wide",
                photographs=True,
            )
        )
    clean = _clean(tables["networks"])
    for displacement, rows in clean.groupby("displacement"):
        panels.append(
            Panel(
                f"error-R-{displacement:g}px",
                f"Test error of {rows['model'].nunique()} networks against R of their output; deformations of "
                f"{_where(displacement)}, cutoff 3. {seeds_words(rows)}",
                (4.6, 4.3),
                lambda ax, rows=rows: plot_architectures(rows, "R", ax=ax),  # type: ignore[misc]
            )
        )
    if "correlations" in tables and tables["correlations"]["correlation"].notna().any():
        for displacement, rows in tables["correlations"].groupby("displacement"):
            fewest, most = rows["networks"].min(), rows["networks"].max()
            number = f"{most}" if fewest == most else f"{fewest} to {most}"
            panels.append(
                Panel(
                    f"correlations-{displacement:g}px",
                    f"Correlation of log test error with log D, G and R of the output over {number} networks "
                    "(means over seeds), against the norm of the Gaussian noise on training and test images; below it "
                    f"in brackets, its multiple of ‖τx − x‖. Deformations of {_where(displacement)}, cutoff 3. Bars: "
                    f"95 %, bootstrap of networks; fewer than {FEWEST} networks have none.",
                    (4.6, 4.3),
                    lambda ax, rows=rows: plot_noise_correlations(rows, ax=ax),  # type: ignore[misc]
                )
            )
    return panels


def _clean(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["eta"] == 0]


def _where(displacement: Any) -> str:
    return f"{displacement:g} px{' (as published)' if math.isclose(displacement, PUBLISHED) else ''}, true rms"


def seeds_words(rows: pd.DataFrame) -> str:
    """Return how points are drawn for so many seeds."""
    seeds = rows["seed"].nunique()
    return "One seed each." if seeds == 1 else f"Small: each of {seeds} seeds; large: their geometric mean."


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    trained, initial = _clean(tables["networks"]), _clean(tables["initial"])
    found: dict[str, list[Estimate]] = {}
    for size in sorted(set(trained["displacement"])):
        own = trained[trained["displacement"] == size]
        each = {
            "error-follows-R": correlation(own, "R", size),
            "error-follows-D": correlation(own, "D", size),
            "error-opposes-G": correlation(own, "G", size),
            "R-follows-best": strongest(own, size),
            "not-at-initialisation": learned(own, initial, size),
        }
        for claim, estimate in each.items():
            found.setdefault(claim, []).append(estimate)
    return found


def _words(tables: Tables) -> Sequence[str]:
    outcomes = tables["outcomes"]
    said = dead_words(outcomes)
    if "correlations" in tables:
        rows = tables["correlations"]
        known = rows[(rows["eta"] == 0) & rows["correlation"].notna()]
        if known.empty:
            said.append(f"Fewer than {FEWEST} networks that learned, or differ, allow no correlation.")
        for displacement, own in known.groupby("displacement"):
            parts = (
                f"{row['correlation']:.2f} with log {row['quantity']} ({row['low']:.2f} to {row['high']:.2f})"
                for row in own.to_dict("records")
            )
            said.append(
                f"Without noise, at {displacement:g} px, the log error of {own['networks'].iloc[0]} networks has the "
                f"correlation {', '.join(parts)}."
            )
    clean = _clean(outcomes)
    alive = clean[clean["status"] == "finished"]
    if len(alive):
        said.append(
            f"The errors span {alive['error'].min():.1%} to {alive['error'].max():.1%}. They are of the epoch that "
            "validation chose; D, G and R are measured at the last epoch, the same in "
            f"{(alive['best_epoch'] == alive['epochs']).sum()} of {len(alive)} runs."
        )
    return said


STUDY = Study(
    name="fig1",
    title="Error against sensitivity, and noise",
    source="Figure 1",
    shows="A deformation that we hardly notice, and networks that notice it more or less: is the error smaller of "
    "those that care less about deformations (D) and more about noise (G), and is R = D / G what tells it best? And is "
    "it so for networks trained on noisy images?",
    scales=NOISY_NETWORKS,
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
    words=_words,
)
