"""Figure C1: test error on scale detection in two dimensions against D, G and R of the output."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from poolscope.report import Panel, plot_architectures
from poolscope.report.style import MARKERS, colours, house_style, legend_below, own_axes
from poolscope.studies.points import logarithms
from poolscope.studies.reproduce.catalogue.correlations import correlation, rank_correlation, strongest
from poolscope.studies.reproduce.catalogue.networks import (
    IMAGE_NETWORKS,
    TASK_NETWORKS,
    ImageNetworks,
    TaskNetworks,
    image_network,
    task_network,
)
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import SCALES, Sources, Study, Tables
from poolscope.training.finished import read_run

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_ERRORS = ("model", "seed", "status", "reason", "epochs", "error", "best_error")
_MEASURED = ("displacement", "D", "D_se", "G", "G_se", "R", "R_low", "R_high")


class FigureC1(TaskNetworks):
    """Networks on the task, and the same on images.

    Attributes:
        images: how those are trained that are set beside them.
    """

    images: ImageNetworks


def _runs(settings: FigureC1, sources: Sources) -> dict[str, Job]:
    found = {}
    for name in settings.networks:
        for seed in settings.seeds:
            found[f"task/{name}/{seed}"] = task_network(settings, sources, name, seed)
    for name in settings.images.networks:
        for seed in settings.images.seeds if name in settings.networks else ():
            found[f"images/{name}/{seed}"] = image_network(settings.images, sources, name, seed, eta=0.0)
    return found


def _tables(settings: FigureC1, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    import pandas as pd

    rows: dict[str, list[dict[str, object]]] = {"task": [], "images": []}
    for run, folder in found.items():
        where, name, _ = run.split("/")
        rows[where].append({"model": name, **outcome(folder, last=where == "task")})
    columns = {"task": [*_ERRORS, *_MEASURED], "images": [*_ERRORS]}
    return {where: pd.DataFrame(each, columns=columns[where]) for where, each in rows.items() if each}


def outcome(folder: Path, *, last: bool) -> dict[str, object]:
    """Return a run's ``error`` on test images and, if its single amplitude was measured, D, G, R of the output.

    Args:
        folder: of the run.
        last: whether the error is that of the last epoch, at which D, G and R were measured, or that of the chosen one.
            On the task the test images choose the epoch, as in the authors' code: the chosen one's error is the least
            of all epochs, and not that of the network which was measured.
    """
    run = read_run(folder)
    best, end = (run.outcome[f"{which}_test_error"] for which in ("best", "last"))
    found = {
        "seed": run.configuration.seed,
        **{key: run.outcome[key] for key in ("status", "reason", "epochs")},
        "error": end if last else best,
        "best_error": best,
    }
    table = run.sensitivity
    if last and table is not None:
        output = table[(table["layer"] == "output") & (table["epoch"] == table["epoch"].max())]
        found |= output[list(_MEASURED)].iloc[0].to_dict() if len(output) == 1 else {}
    return found


def _alive(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["status"] == "finished"]


def _panels(tables: Tables) -> list[Panel]:
    if "task" not in tables:
        return []
    rows = _alive(tables["task"])
    seeds = rows["seed"].nunique()
    panels = [
        Panel(
            f"error-{quantity}",
            f"Test error on scale detection (task 1 in two dimensions) against {quantity} of the output, both at the "
            f"end of training; pixels move to a neighbour or stay. {_small(seeds)}",
            (4.6, 4.4),
            lambda ax, quantity=quantity: plot_architectures(rows, quantity, ax=ax),  # type: ignore[misc]
        )
        for quantity in "DGR"
    ]
    if "images" in tables and len(_both(tables)) > 0:
        caption = (
            "Test error on the task against that on images, of the networks that were trained on both; means over "
            "seeds of the logarithm."
        )
        panels.append(Panel("both-errors", caption, (4.6, 4.4), lambda ax: plot_both(_both(tables), ax=ax)))
    return panels


def _small(seeds: int) -> str:
    return "One seed." if seeds == 1 else f"Small: each of {seeds} seeds; large: their geometric mean."


def _both(tables: Tables) -> pd.DataFrame:
    """Return the mean errors of the networks that are in both tables, in the order of the task's, which is ``number``.

    Columns: ``model``, ``images``, ``task``, ``number``, as which the other pictures draw the network.
    """
    import numpy as np

    task, images = (
        np.exp(logarithms(_alive(tables[each]), ["error"])["error"]).rename(each) for each in ("task", "images")
    )
    order = {model: number for number, model in enumerate(_alive(tables["task"])["model"].unique())}
    found: pd.DataFrame = images.to_frame().join(task, how="inner").reset_index()
    return found.assign(number=found["model"].map(order)).sort_values("number", ignore_index=True)


def plot_both(errors: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw each network's error on the task against its error on images, both logarithmic.

    Args:
        errors: ``model``, ``images``, ``task``: shares of the images; ``number``: which colour and marker.
        ax: where to draw (default: a new figure).
    """
    from poolscope.report.scale import read_as_numbers

    with house_style():
        ax = own_axes(ax)
        for row in errors.to_dict("records"):
            number = row["number"]
            marker = MARKERS[(number + number // len(colours())) % len(MARKERS)]
            look = {"color": colours()[number % len(colours())], "marker": marker, "markersize": 9}
            ax.plot(row["images"], row["task"], linestyle="none", label=row["model"], **look)
        ax.set_xscale("log")
        ax.set_yscale("log")
        read_as_numbers(ax.xaxis)
        read_as_numbers(ax.yaxis)
        ax.set_xlabel("test error on images")
        ax.set_title("test error on the task", loc="left")
        legend_below(ax, columns=3)
    return ax


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    if "task" not in tables:
        return {}
    rows = _alive(tables["task"]).drop(columns="displacement")
    found = {
        "task-error-follows-R": [correlation(rows, "R")],
        "task-error-follows-D": [correlation(rows, "D")],
        "task-error-opposes-G": [correlation(rows, "G")],
        "task-R-follows-best": [strongest(rows)],
    }
    if "images" in tables:
        found["best-on-both"] = [rank_correlation(_alive(tables["images"]), rows)]
    return found


def _words(tables: Tables) -> list[str]:
    words = [
        "Error, D, G and R are those of the network at the end of training: the epoch of least error is chosen by the "
        "test images, and its error is too small."
    ]
    for where, place in (("task", "on the task"), ("images", "on images")):
        if where not in tables:
            continue
        dead = tables[where][tables[where]["status"] != "finished"]
        if len(dead):
            words.append(f"Left out, for training {place} ended at chance: {_named(dead)}.")
        perfect = _alive(tables[where]).query("error == 0")
        if len(perfect):
            words.append(f"Without an error {place}, which has no logarithm, and left out: {_named(perfect)}.")
    return words


def _named(rows: pd.DataFrame) -> str:
    return ", ".join(f"{row['model']} (seed {row['seed']})" for row in rows.to_dict("records"))


STUDY = Study(
    name="figC1",
    title="Error against sensitivity on scale detection",
    source="Figure C1",
    shows="Networks trained on scale detection in two dimensions: is the error smaller where the output is less "
    "sensitive to deformations (D), more sensitive to noise (G), and best told by R = D / G? And are networks that are "
    "best on images best on the task?",
    scales={scale: FigureC1(**TASK_NETWORKS[scale], images=ImageNetworks(**IMAGE_NETWORKS[scale])) for scale in SCALES},
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
    words=_words,
)
