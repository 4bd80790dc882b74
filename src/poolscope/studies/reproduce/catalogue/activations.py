"""Section 4.1, end: sensitivity to noise of simple CNNs with ReLU, tanh and swish, the nearer to odd the less."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from poolscope.report import Panel, plot_noisy_errors, plot_scaling
from poolscope.report.scale import read_as_numbers
from poolscope.report.style import MARKERS, colours, house_style, legend_below, own_axes
from poolscope.studies.reproduce.catalogue.networks import SIMPLE_NETWORKS, SimpleNetworks
from poolscope.studies.reproduce.catalogue.reading import read_tables
from poolscope.studies.reproduce.catalogue.simple_cnns import by_network, kept, logarithms, of_groups
from poolscope.studies.reproduce.catalogue.simple_runs import (
    ACTIVATIONS,
    Which,
    how_training_ended,
    runs_of,
    seeds_in,
    side_by_side,
    tables_of,
    unmeasured,
)
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import SCALES, Sources, Study, Tables
from poolscope.studies.reproduce.work.noisy import noisy
from poolscope.studies.scale_detection.magnitudes import MAGNITUDES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_ALL: tuple[Which, ...] = ("task1", "tanh", "swish")
_FIRST = 7  # layers: the first large part of the network


class Activations(SimpleNetworks):
    """Simple CNNs on task 1, and the noise they are looked at with.

    Attributes:
        magnitudes: norms of plain noise over the rms of |τx - x|.
    """

    magnitudes: tuple[float, ...] = Field(default=MAGNITUDES, min_length=1)


_NEEDS: dict[str, tuple[Which, ...]] = {"swish-between": ("task1", "swish")}


def _runs(settings: Activations, sources: Sources) -> dict[str, Job]:
    found = runs_of(settings, sources, _ALL)
    noises = {f"{which}-noisy": noisy(found[which], magnitudes=settings.magnitudes) for which in _ALL if which in found}
    return {**found, **noises}


def _tables(settings: Activations, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    import pandas as pd

    tables = tables_of(found, _ALL, ("sensitivity", "averages"))
    averages = side_by_side(tables, "averages", _ALL)
    made = {} if averages is None else {"averages": averages}
    for name in ("noisy_layers", "noisy_errors"):
        parts = [
            table.assign(model=ACTIVATIONS[which])
            for which in _ALL
            if f"{which}-noisy" in found
            for table in read_tables(found[f"{which}-noisy"], [name]).values()
        ]
        if parts:
            made[name] = pd.concat(parts, ignore_index=True)
    return {**made, **{name: table for name, table in tables.items() if not name.endswith("_averages")}}


def _panels(tables: Tables) -> list[Panel]:
    panels = []
    if "averages" in tables:
        rows = tables["averages"]
        rows = rows[rows["variant"] == "trained"]
        for quantity, noise in (("G", "plain"), ("G", "rectified"), ("D", "plain")):
            shown = rows[rows["noise"] == noise]
            panels.append(_by_layer(quantity, noise, shown))
    if "noisy_layers" in tables:
        layers = tables["noisy_layers"]
        layers = layers[layers["k"] == min(_FIRST, layers["k"].max())]
        seeds = seeds_in(layers, "seed")
        panels.append(
            Panel(
                "G-magnitude",
                f"G of layer {layers['k'].iloc[0]} for plain noise of several sizes, over the square of the size: "
                "constant where a network is linear in the noise. Thick: geometric means over seeds "
                f"({seeds}), thin: the seeds. Sizes are norms over the rms of |τx - x|; both axes logarithmic.",
                (5.2, 4.2),
                lambda ax: _draw_magnitudes(layers, ax),
                alt="Line chart of scaled G against the size of the noise for each activation.",
            )
        )
    if "noisy_errors" in tables:
        seeds = seeds_in(tables["noisy_errors"], "seed")
        panels.append(
            Panel(
                "errors",
                "Error on all pairs of the task under plain noise, against its norm over the rms of |τx - x|. Thick: "
                f"means over seeds ({seeds}), thin: the seeds.",
                (5.2, 4.2),
                lambda ax: plot_noisy_errors(tables["noisy_errors"], ax=ax),
                alt="Line chart of the error under noise for each activation.",
            )
        )
    return panels


def _by_layer(quantity: str, noise: str, shown: pd.DataFrame) -> Panel:
    words = "" if quantity == "D" else f", {noise} noise for all"
    name = "D" if quantity == "D" else f"{quantity}-{noise}"

    # The bands of two seeds would cover the others.
    ends = (f"{quantity}_low", f"{quantity}_high")
    shown = shown.assign(**{end: shown[end].where(shown["seeds"] != 2) for end in ends})

    def draw(ax: Axes) -> None:
        plot_scaling(shown, quantity, x="k", ax=ax)
        ax.set_title(f"{quantity}{words}", loc="left")

    return Panel(
        name,
        f"{quantity} by layer of trained networks on task 1{words}. Geometric means over seeds ({seeds_in(shown)}), "
        "bands: 95 % over three or more seeds, or over images with a single one.",
        (5.2, 4.2),
        draw,
        alt=f"Line chart of {quantity} by layer for {', '.join(shown['model'].unique())}.",
    )


def _draw_magnitudes(layers: pd.DataFrame, ax: Axes) -> None:
    import numpy as np

    with house_style():
        ax = own_axes(ax)
        for number, (model, rows) in enumerate(layers.groupby("model", sort=False)):
            colour = colours()[number]
            for _, seed in rows.groupby("seed"):
                ax.plot(seed["magnitude"], seed["G_scaled"], color=colour, linewidth=0.8, alpha=0.45)
            mean = np.exp(np.log(rows["G_scaled"]).groupby(rows["magnitude"]).mean())
            ax.plot(
                mean.index, mean, color=colour, marker=MARKERS[number], markersize=4, linewidth=1.8, label=str(model)
            )
        for axis, scale in ((ax.xaxis, ax.set_xscale), (ax.yaxis, ax.set_yscale)):
            scale("log")
            read_as_numbers(axis)
        ax.set_xlabel("noise: its norm over the rms of |τx - x|")
        ax.set_title(f"G of layer {layers['k'].iloc[0]} over the noise's size squared", loc="left")
        legend_below(ax, 3)


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    means = {
        which: by_network(
            logarithms(kept(tables[f"{which}_sensitivity"], "trained", "plain"), "G", _FIRST),
            lambda values: float(values.mean(skipna=False)),
        )
        for which in _ALL
        if f"{which}_sensitivity" in tables
    }
    if "swish" not in means or "task1" not in means:
        return unmeasured(tables, _NEEDS)
    note = ""
    if "tanh" in means:
        note = f"tanh, which is odd, over ReLU: {means['tanh'].mean() - means['task1'].mean():.3f}"
    return {"swish-between": [of_groups(means["swish"], means["task1"], note=note)]}


STUDY = Study(
    name="activations",
    title="Noise and the shape of the activation",
    source="Section 4.1",
    shows="Simple CNNs with ReLU, tanh and swish, which is linear near 0 and ReLU far away: G by layer, and what noise "
    "does to their answers. The paper expects the less of a response to noise the nearer to odd the activation is.",
    scales={
        scale: Activations(
            **SIMPLE_NETWORKS[scale].model_dump(), magnitudes=(0.25, 1.0) if scale == "smoke" else MAGNITUDES
        )
        for scale in SCALES
    },
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
    words=lambda tables: how_training_ended(tables, _ALL),
)
