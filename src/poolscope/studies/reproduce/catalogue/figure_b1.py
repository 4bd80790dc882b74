"""Figure B1: filters of simple CNNs by spatial frequency, layer by layer, with ReLU and with tanh."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from poolscope.report import Panel
from poolscope.report.style import MARKERS, VARIANTS, colours, house_style, legend_below, own_axes
from poolscope.studies.reproduce.catalogue.multiples import Series, multiples_size, plot_multiples
from poolscope.studies.reproduce.catalogue.networks import SIMPLE_NETWORKS, SimpleNetworks
from poolscope.studies.reproduce.catalogue.simple_cnns import by_network, extreme, of_seeds, over_seeds
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
from poolscope.studies.reproduce.study import Sources, Study, Tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_BOTH: tuple[Which, ...] = ("task1", "tanh")
_MIDDLE = (3, 6)  # where the text finds more of high frequencies in tanh networks
_LOW_PASS = 9  # layers in which filters are claimed to be low-pass: those of table C2 that are positive

_NEEDS: dict[str, tuple[Which, ...]] = {"tanh-high-frequency-3-to-6": ("tanh",), "low-pass-everywhere": ("task1",)}


def _runs(settings: SimpleNetworks, sources: Sources) -> dict[str, Job]:
    return runs_of(settings, sources, _BOTH)


def _tables(settings: SimpleNetworks, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    tables = tables_of(found, _BOTH, ("spectrum",))
    spectrum = side_by_side(tables, "spectrum", _BOTH)
    if spectrum is None:
        return tables
    spectrum = spectrum.rename(columns={"position": "k"})
    outcomes = {name: table for name, table in tables.items() if name.endswith("_outcomes")}
    return {"frequencies": _frequencies(spectrum), "spectrum": spectrum, **outcomes}


def _frequencies(spectrum: pd.DataFrame) -> pd.DataFrame:
    """Return shares over seeds: ``model``, ``k``, ``level``, ``seeds``, ``share``, ``low``, ``high``, ``initial``."""
    import pandas as pd

    rows = []
    for (model, k, level), group in spectrum.groupby(["model", "k", "level"], sort=False):
        mean, low, high = over_seeds(group["share"])
        initial = float(group["init_share"].mean())
        row = {"model": model, "k": k, "level": level, "seeds": len(group), "share": mean, "low": low, "high": high}
        rows.append({**row, "initial": initial})
    return pd.DataFrame(rows)


def _panels(tables: Tables) -> list[Panel]:
    if "frequencies" not in tables:
        return []
    table = tables["frequencies"]
    panels = []
    for model, rows in table.groupby("model", sort=False):
        layers = rows["k"].nunique()
        name = next(which for which, words in ACTIVATIONS.items() if words == model)
        seeds = seeds_in(rows)
        panels.append(
            Panel(
                f"filters-{name}",
                f"Filters of {model} networks on task 1: share of their power in the three eigenvectors of the "
                "Laplacian, from 1, the constant one, to 3, the highest frequency (equation B.1), after training "
                f"(solid) and before (dotted, orange). Mean of {seeds}; bands: 95 % over seeds, where there are "
                "several. Grey, dotted: white filters, a third each.",
                multiples_size(layers),
                lambda ax, rows=rows, model=model: _draw_filters(rows, str(model), ax),  # type: ignore[misc]
                alt=f"Small charts of filter power by frequency for {layers} layers of {model} networks.",
                layout="wide",
            )
        )
    panels.append(
        Panel(
            "constant",
            "Share of the constant mode in the filters' power, layer by layer, after training (solid) and before "
            f"(dotted); {seeds_in(table)}, bands: 95 % over seeds. Grey: white filters; dashed grey: one half, more "
            "than the other two modes together.",
            (5.2, 4.2),
            lambda ax: _draw_constant(table, ax),
            alt="Line chart of the constant mode's share by layer for both activations.",
        )
    )
    return panels


def _draw_filters(rows: pd.DataFrame, model: str, ax: Axes) -> None:
    import pandas as pd

    rows = rows.assign(x=rows["level"] + 1)
    levels = rows["level"].nunique()
    white = pd.DataFrame({"k": rows["k"], "x": rows["x"], "y": 1 / levels})
    after = rows.rename(columns={"share": "y"})[["k", "x", "y", "low", "high"]]
    series = [
        Series("after training", after, VARIANTS["trained"]),
        Series("before", rows.rename(columns={"initial": "y"})[["k", "x", "y"]], VARIANTS["initial"]),
        Series("white filters", white),
    ]
    names = [str(level) for level in range(1, levels + 1)]
    plot_multiples(series, names, (0.0, 1.02), title=f"Filters of {model} networks: share of power", ax=ax)


def _draw_constant(table: pd.DataFrame, ax: Axes) -> None:
    with house_style():
        ax = own_axes(ax)
        constant = table[table["level"] == 0]
        ax.axhline(1 / table["level"].nunique(), color="0.55", linewidth=1)
        ax.axhline(0.5, color="0.55", linewidth=1, linestyle="--")
        for number, (model, rows) in enumerate(constant.groupby("model", sort=False)):
            colour = colours()[number]
            ax.plot(
                rows["k"], rows["share"], color=colour, marker=MARKERS[number], markersize=4, linewidth=1.7,
                label=str(model),
            )  # fmt: skip
            ax.fill_between(rows["k"], rows["low"], rows["high"], color=colour, alpha=0.16, linewidth=0)
            ax.plot(rows["k"], rows["initial"], color=colour, linestyle=":", linewidth=1.4, label=f"{model}, before")
        ax.set_ylim(0, 1.02)
        ax.set_xlabel("layer k")
        ax.set_title("share of the constant mode", loc="left")
        legend_below(ax)


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    found = unmeasured(tables, _NEEDS)
    if "spectrum" not in tables:
        return found
    constant = tables["spectrum"][tables["spectrum"]["level"] == 0].assign(value=lambda rows: rows["share"])
    relu, tanh = (constant[constant["model"] == ACTIVATIONS[which]] for which in _BOTH)
    if len(tanh):
        found["tanh-high-frequency-3-to-6"] = [of_seeds(by_network(tanh, _lost_in_the_middle))]
    if len(relu):
        found["low-pass-everywhere"] = [extreme(relu[relu["k"] <= _LOW_PASS], "least")]
    return found


def _lost_in_the_middle(shares: pd.Series) -> float:
    """Return the constant mode's mean share outside layers 3 to 6 less that inside."""
    inside: np.ndarray = (shares.index >= _MIDDLE[0]) & (shares.index <= _MIDDLE[1])
    return float(shares[~inside].mean() - shares[inside].mean())


STUDY = Study(
    name="figB1",
    title="Filters with ReLU and with tanh",
    source="Figure B1",
    shows="What spatial frequencies the filters of simple CNNs hold, layer by layer, before and after they learn task "
    "1. All power in the constant mode would be pooling of space.",
    scales=SIMPLE_NETWORKS,
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
    words=lambda tables: how_training_ended(tables, _BOTH),
)
