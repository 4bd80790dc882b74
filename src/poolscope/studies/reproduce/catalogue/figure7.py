"""Figure 7: D, G and R of simple CNNs against their receptive field, beside the theory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from poolscope.report import Panel, plot_scaling
from poolscope.studies.reproduce.catalogue.networks import SIMPLE_NETWORKS, SimpleNetworks, simple_networks
from poolscope.studies.reproduce.catalogue.reading import read_tables
from poolscope.studies.reproduce.catalogue.simple_cnns import distances, kept, largest
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import Sources, Study, Tables

if TYPE_CHECKING:
    import pandas as pd

_TASKS = {"task1": "task 1, stride 1", "task2": "task 2, stride 2"}
_FIRST = {"task1": 7, "task2": 4}  # the first large part of the network, where the picture is claimed


def _runs(settings: SimpleNetworks, sources: Sources) -> dict[str, Job]:
    found = {}
    for which in ("task1", "task2", *(["twice"] if settings.twice else [])):
        found[which], found[f"{which}-measured"] = simple_networks(settings, sources, which)  # type: ignore[arg-type]
    return found


def _tables(settings: SimpleNetworks, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    tables = {}
    for which in ("task1", "task2", "twice"):
        if f"{which}-measured" in found:
            names = ("outcomes", "sensitivity", "averages", "theory", "slopes")
            tables |= {f"{which}_{name}": each for name, each in read_tables(found[f"{which}-measured"], names).items()}
    return tables


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
                    f"{quantity} on {words}, against the receptive field; rectified noise (section 4.3). {seeds} "
                    f"seeds; bands: 95 % over seeds. Solid grey: exact theory, homogeneous filters; dashed: the law.",
                    (5.2, 4.2),
                    lambda ax, rows=rows, quantity=quantity, theory=theory: plot_scaling(rows, quantity, theory, ax=ax),  # type: ignore[misc]
                )
            )
    return panels


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    found: dict[str, list[Estimate]] = {}
    for which in ("task1", "task2"):
        if f"{which}_slopes" not in tables:
            continue
        slopes = tables[f"{which}_slopes"]
        slopes = slopes[slopes["noise"] == "rectified"].set_index(["variant", "quantity"])
        for quantity in "DG":
            found[f"{quantity}-{which}-law"] = [_slope(slopes.loc[("trained", quantity)])]
            found.setdefault("flat-initialisation", []).append(
                _slope(slopes.loc[("initial", quantity)], f"{quantity}, {which}")
            )
            measured = kept(tables[f"{which}_sensitivity"], "trained")
            theory = tables[f"{which}_theory"]
            exact = theory[theory["label"] == "exact, homogeneous filters"]
            logs = distances(measured, exact, quantity, _FIRST[which])
            found.setdefault(f"{quantity}-exact", []).append(largest(logs, part=which))
            mean = kept(tables[f"{which}_sensitivity"], "mean_channel")
            logs = distances(mean, measured, quantity, _FIRST[which])
            found.setdefault("mean-channel", []).append(largest(logs, part=f"{quantity}, {which}"))
        for row in tables[f"{which}_outcomes"].to_dict("records"):
            part = f"{which}, seed {row['seed']}"
            found.setdefault("zero-error", []).append(Estimate.exact(row["test_error"], part=part))
    if "twice_sensitivity" in tables and "task1_sensitivity" in tables:
        for quantity in "DG":
            narrow, wide = (kept(tables[f"{which}_sensitivity"], "trained") for which in ("task1", "twice"))
            logs = distances(wide, narrow, quantity, _FIRST["task1"], paired=False)
            found.setdefault("no-width", []).append(largest(logs, part=quantity))
    return found


def _slope(row: pd.Series, part: str = "") -> Estimate:
    """Return a slope over seeds; the exact finite-size theory's goes into the note."""
    note = f"exact theory over the same layers ({row['layers']}): {row['exact']:.2f}"
    seeds = int(row["seeds"])
    low, high = (row["low"], row["high"]) if seeds > 2 else (math.nan, math.nan)
    return Estimate(row["slope"], low, high, None, part, f"over {seeds} seeds", note)


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
)
