"""Figure 7: D, G and R of simple CNNs against their receptive field, beside the theory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from poolscope.report import Panel, plot_scaling
from poolscope.studies.reproduce.catalogue.networks import SIMPLE_NETWORKS, SimpleNetworks
from poolscope.studies.reproduce.catalogue.simple_cnns import (
    distances,
    kept,
    largest,
    largest_between,
    logarithms,
    row_where,
    slope_over_seeds,
)
from poolscope.studies.reproduce.catalogue.simple_runs import Which, how_training_ended, runs_of, tables_of, unmeasured
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import Sources, Study, Tables

if TYPE_CHECKING:
    import pandas as pd

_ALL: tuple[Which, ...] = ("task1", "task2", "twice")
_TASKS = {"task1": "task 1, stride 1", "task2": "task 2, stride 2"}
_FIRST = {"task1": 7, "task2": 4}  # the first large part of the network, where the picture is claimed

_NEEDS: dict[str, tuple[Which, ...]] = {
    "D-task1-law": ("task1",), "G-task1-law": ("task1",), "D-task2-law": ("task2",), "G-task2-law": ("task2",),
    "no-width": ("task1", "twice"),
}  # fmt: skip


def _runs(settings: SimpleNetworks, sources: Sources) -> dict[str, Job]:
    return runs_of(settings, sources, _ALL)


def _tables(settings: SimpleNetworks, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    return tables_of(found, _ALL, ("sensitivity", "averages", "theory", "slopes"))


def _panels(tables: Tables) -> list[Panel]:
    panels = []
    for which, words in _TASKS.items():
        if f"{which}_averages" not in tables:
            continue
        rows = tables[f"{which}_averages"]
        rows = rows[rows["noise"] == "rectified"]
        theory = tables[f"{which}_theory"]
        theory = theory[~theory["label"].str.contains("seed")]
        seeds = int(rows["seeds"].max())
        for quantity in "DGR":
            panels.append(
                Panel(
                    f"{which}-{quantity}",
                    f"{quantity} on {words}, against the receptive field; rectified noise (section 4.3). "
                    f"{seeds} seed{'s' if seeds > 1 else ''}; bands: 95 % over {'seeds' if seeds > 1 else 'images'}. "
                    "Solid grey: exact theory, homogeneous filters; dashed: the law.",
                    (5.2, 4.2),
                    lambda ax, rows=rows, quantity=quantity, theory=theory: plot_scaling(rows, quantity, theory, ax=ax),  # type: ignore[misc]
                )
            )
    return panels


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    found = unmeasured(tables, _NEEDS)
    for which in ("task1", "task2"):
        for row in tables[f"{which}_outcomes"].to_dict("records") if f"{which}_outcomes" in tables else ():
            part = f"{which}, seed {row['seed']}"
            found.setdefault("zero-error", []).append(Estimate.exact(row["test_error"], part=part, note=row["status"]))
        if f"{which}_slopes" not in tables:
            continue
        slopes = tables[f"{which}_slopes"]
        slopes = slopes[slopes["noise"] == "rectified"]
        measured, mean = (kept(tables[f"{which}_sensitivity"], each) for each in ("trained", "mean_channel"))
        theory = tables[f"{which}_theory"]
        exact = theory[theory["label"] == "exact, homogeneous filters"]
        for quantity in "DG":
            found[f"{quantity}-{which}-law"] = [
                slope_over_seeds(row_where(slopes, variant="trained", quantity=quantity))
            ]
            initial = row_where(slopes, variant="initial", quantity=quantity)
            flat = slope_over_seeds(initial, f"{quantity}, {which}", beside_theory=False)
            found.setdefault("flat-initialisation", []).append(flat)
            logs = distances(measured, exact, quantity, _FIRST[which])
            found.setdefault(f"{quantity}-exact", []).append(largest(logs, part=which))
            logs = distances(mean, measured, quantity, _FIRST[which])
            found.setdefault("mean-channel", []).append(largest(logs, part=f"{quantity}, {which}"))
    if "twice_sensitivity" in tables and "task1_sensitivity" in tables:
        found["no-width"] = []
        for quantity in "DG":
            wide, narrow = (
                logarithms(kept(tables[f"{which}_sensitivity"], "trained"), quantity, _FIRST["task1"])
                for which in ("twice", "task1")
            )
            found["no-width"].append(largest_between(wide, narrow, part=quantity))
    return found


def _words(tables: Tables) -> list[str]:
    said = how_training_ended(tables, _ALL)
    for which in _TASKS:
        if f"{which}_sensitivity" not in tables:
            continue
        theory = tables[f"{which}_theory"]
        exact = theory[theory["label"] == "exact, homogeneous filters"]
        measured = kept(tables[f"{which}_sensitivity"], "trained")
        for quantity in "DG":
            logs = distances(measured, exact, quantity, _FIRST[which])
            said.append(f"{quantity} on {_TASKS[which]}: {_farthest(logs)}.")
    return said


def _farthest(logs: pd.DataFrame) -> str:
    """Say how far each network is from the theory, farthest first: one of few that differs widens all intervals."""
    at = logs.loc[logs.assign(size=logs["value"].abs()).groupby("seed")["size"].idxmax()]
    at = at.reindex(at["value"].abs().sort_values(ascending=False).index)
    parts = [
        f"seed {row['seed']:.0f} {100 * math.expm1(row['value']):+.0f} % (layer {row['k']:.0f})"
        for row in at.to_dict("records")
    ]
    layers = f"layers {logs['k'].min()} to {logs['k'].max()}"
    return f"largest distance of each network from the exact theory over {layers}: {', '.join(parts)}"


STUDY = Study(
    name="fig7",
    title="Sensitivities against the receptive field",
    source="Figure 7",
    shows="Simple CNNs trained on scale detection lose deformations (D) and gain noise (G) as their receptive fields "
    "grow, as one channel of homogeneous filters would. The laws are asymptotic; exact finite-size values are beside.",
    scales=SIMPLE_NETWORKS,
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
    words=_words,
)
