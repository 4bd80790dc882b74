"""Figure C2: D, G and R along networks trained on scale detection in two dimensions, with and without shuffling."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from poolscope.report import Panel, plot_quantity
from poolscope.report.choose import records
from poolscope.studies.reproduce.catalogue.figure_c1 import outcome
from poolscope.studies.reproduce.catalogue.networks import TASK_NETWORKS, TaskNetworks, task_network
from poolscope.studies.reproduce.catalogue.reading import below_each_other
from poolscope.studies.reproduce.catalogue.shuffled import share_at_output
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import SCALES, Sources, Study, Tables
from poolscope.studies.reproduce.work.pooled import pooled

if TYPE_CHECKING:
    import pandas as pd

_NETWORKS = ("alexnet", "vgg11", "vgg11_bn")


class FigureC2(TaskNetworks):
    """Networks on the task, and how often their channels are shuffled.

    Attributes:
        shuffles: of channels.
    """

    shuffles: int


def _runs(settings: FigureC2, sources: Sources) -> dict[str, Job]:
    found = {}
    for name in (each for each in _NETWORKS if each in settings.networks):
        for seed in settings.seeds:
            job = task_network(settings, sources, name, seed)
            found[f"{name}/{seed}"] = job
            found[f"{name}/{seed}-pooled"] = pooled(job, images=settings.measured, draws=settings.shuffles)
    return found


def _tables(settings: FigureC2, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    import pandas as pd

    tables = below_each_other(found, "-pooled", ("measurement", "shares"))
    rows = [
        {"network": run, **outcome(folder, last=False)} for run, folder in found.items() if not run.endswith("-pooled")
    ]
    return {**tables, "outcomes": pd.DataFrame(rows)} if rows else tables


def _alive(tables: Tables, name: str) -> pd.DataFrame:
    """Return the rows of the networks whose training ended as it should."""
    outcomes = tables["outcomes"]
    rows = tables[name]
    return rows[rows["network"].isin(outcomes[outcomes["status"] == "finished"]["network"])]


def _panels(tables: Tables) -> list[Panel]:
    if "measurement" not in tables:
        return []
    rows, outcomes = _alive(tables, "measurement"), tables["outcomes"].set_index("network")
    panels = []
    for name in dict.fromkeys(rows["network"].str.partition("/")[0]):
        runs = [network for network in rows["network"].unique() if network.partition("/")[0] == name]
        best = min(runs, key=lambda network: outcomes.loc[network, "error"])
        own = rows[rows["network"] == best]
        error = f"{100 * outcomes.loc[best, 'error']:.2g} %"
        for quantity in "DGR":
            panels.append(
                Panel(
                    f"{name}-{quantity}",
                    f"{quantity} along {name}, trained on scale detection (task 1 in two dimensions; pixels move to a "
                    f"neighbour or stay); the training seed of least test error, {error}. Bands: 95 % over images. "
                    "Dashed: shuffled channels, thin lines each shuffle; dotted: before training.",
                    (4.6, 3.9),
                    lambda ax, own=own, quantity=quantity: plot_quantity(own, quantity, ax=ax),  # type: ignore[misc]
                )
            )
    return panels


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    if "shares" not in tables:
        return {}
    shares = _alive(tables, "shares")
    shares = shares.assign(network=shares["network"].str.replace("/", ", seed "))
    return {"shuffling-nothing-on-the-task": share_at_output(shares, displaced=False)}


def _words(tables: Tables) -> list[str]:
    words = []
    for row in records(tables["outcomes"]) if "outcomes" in tables else ():
        name, _, seed = row["network"].partition("/")
        if row["status"] == "finished":
            words.append(f"{name} (seed {seed}) has a test error of {100 * row['error']:.3g} %.")
        else:
            words.append(f"{name} (seed {seed}) is left out: its training ended at chance.")
    return words


STUDY = Study(
    name="figC2",
    title="Sensitivities along networks trained on scale detection",
    source="Figure C2",
    shows="Deep networks on the task in two dimensions lose deformations and gain noise along their layers; dashed are "
    "the same networks with shuffled channels, which the text calls essentially unaltered.",
    scales={
        scale: FigureC2(**TASK_NETWORKS[scale], shuffles={"smoke": 2, "laptop": 4, "paper": 8}[scale])
        for scale in SCALES
    },
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
    words=_words,
)
