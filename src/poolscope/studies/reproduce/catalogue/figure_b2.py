"""Figure B2: D, G and R of simple CNNs by layer, ReLU against tanh, under both kinds of noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from poolscope.report import Panel, plot_scaling
from poolscope.studies.reproduce.catalogue.networks import SIMPLE_NETWORKS, SimpleNetworks
from poolscope.studies.reproduce.catalogue.simple_cnns import (
    by_network,
    distances,
    kept,
    largest_between,
    logarithms,
    of_groups,
    of_seeds,
    row_where,
    slope_over_seeds,
)
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
_FIRST = 7  # layers: the first large part of the network
_EXACT = "exact, homogeneous filters"

#: Noise that each activation's curves are measured with, how a title says it, and how a caption does.
_PROTOCOLS: dict[str, tuple[dict[Which, str], str, str]] = {
    "published": (
        {"task1": "rectified", "tanh": "plain"},
        "noise as published",
        "as published: rectified noise for ReLU, plain noise for tanh (erratum 25)",
    ),
    "plain": (
        {"task1": "plain", "tanh": "plain"},
        "plain noise for both",
        "plain noise for both ReLU and tanh, as in definition (1); the published figure has rectified noise for ReLU",
    ),
    "rectified": (
        {"task1": "rectified", "tanh": "rectified"},
        "rectified noise for both",
        "rectified noise for both ReLU and tanh; the published figure has plain noise for tanh",
    ),
}

_NEEDS: dict[str, tuple[Which, ...]] = {
    "tanh-same-D-first": _BOTH, "tanh-D-departs": ("tanh",), "tanh-mean-channel-gap": _BOTH, "tanh-flat-G": ("tanh",),
    "tanh-less-G": _BOTH, "tanh-smaller-fall": _BOTH,
}  # fmt: skip


def _runs(settings: SimpleNetworks, sources: Sources) -> dict[str, Job]:
    return runs_of(settings, sources, _BOTH)


def _tables(settings: SimpleNetworks, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    tables = tables_of(found, _BOTH, ("sensitivity", "averages", "theory", "slopes"))
    averages = side_by_side(tables, "averages", _BOTH)
    return tables if averages is None else {"averages": averages, **tables}


def _panels(tables: Tables) -> list[Panel]:
    if "averages" not in tables:
        return []
    rows = tables["averages"]
    rows = rows[rows["variant"].isin(["trained", "mean_channel"])]
    theory = tables.get("task1_theory")
    exact = None if theory is None else theory[theory["label"] == _EXACT]
    panels = [_panel("D", "published", rows, exact)]
    for protocol in _PROTOCOLS:
        panels += [_panel(quantity, protocol, rows, exact) for quantity in "GR"]
    return panels


def _panel(quantity: str, protocol: str, rows: pd.DataFrame, exact: pd.DataFrame | None) -> Panel:
    """Return the panel of one quantity under one protocol, the theory being that of ReLU's noise."""
    import pandas as pd

    noise, title, words = _PROTOCOLS[protocol]
    shown = pd.concat(
        [rows[(rows["model"] == ACTIVATIONS[which]) & (rows["noise"] == kind)] for which, kind in noise.items()]
    )
    # Those of mean channels, of few networks that differ, would cover all else.
    bands = [f"{quantity}_low", f"{quantity}_high"]
    shown.loc[shown["variant"] == "mean_channel", bands] = float("nan")
    grey = ""
    if exact is not None:
        if noise["task1"] == "plain":
            exact = exact.assign(G=exact["G_plain"], R=exact["D"] / exact["G_plain"])
        grey = f" Grey: exact theory of homogeneous filters{'' if quantity == 'D' else ' with the noise of ReLU'}."
    if quantity == "D":
        name, title, words = "D", "D", "it does not depend on the noise, of which G and R have two kinds"
    else:
        name, title = f"{quantity}-{protocol}", f"{quantity}: {title}"

    def draw(ax: Axes) -> None:
        plot_scaling(shown, quantity, exact, x="k", ax=ax)
        ax.set_title(title, loc="left")

    return Panel(
        name,
        f"{quantity} by layer on task 1; {words}. Solid: networks, geometric means over seeds ({seeds_in(shown)}) "
        f"with 95 % bands; dash-dotted: their mean channels.{grey}",
        (5.2, 4.6),
        draw,
        alt=f"Line chart of {quantity} by layer for {' and '.join(shown['model'].unique())}.",
    )


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    found = unmeasured(tables, _NEEDS)
    if "tanh_sensitivity" not in tables:
        return found
    tanh, slopes = tables["tanh_sensitivity"], tables["tanh_slopes"]
    theory = tables["tanh_theory"]
    exact = theory[theory["label"] == _EXACT]
    last = distances(kept(tanh, "trained"), exact, "D", _FIRST).query(f"k == {_FIRST}")["value"]
    side = "above" if last.mean() > 0 else "below, to the other side than the claim says"
    flat = row_where(slopes, variant="trained", noise="plain", quantity="G")
    found["tanh-D-departs"] = [of_seeds(last, note=f"layer {_FIRST}: D is {side}")]
    found["tanh-flat-G"] = [slope_over_seeds(flat)]
    if "task1_sensitivity" not in tables:
        return found
    relu = tables["task1_sensitivity"]
    logs = {
        (which, quantity, noise): logarithms(kept(table, "trained", noise), quantity, _FIRST)
        for which, table in (("relu", relu), ("tanh", tanh))
        for quantity in "DGR"
        for noise in ("rectified", "plain")
    }
    first = {which: logs[which, "D", "rectified"].query("k <= 2") for which in ("tanh", "relu")}
    found["tanh-same-D-first"] = [largest_between(first["tanh"], first["relu"])]
    found["tanh-mean-channel-gap"] = [_gap(tanh, relu, quantity) for quantity in "DG"]

    def compared(
        quantity: str, noise_of_relu: str, statistic: Callable[[pd.Series], float], note: str = ""
    ) -> Estimate:
        """Return a statistic of tanh networks under plain noise less that of ReLU networks."""
        one, other = logs["tanh", quantity, "plain"], logs["relu", quantity, noise_of_relu]
        return of_groups(by_network(one, statistic), by_network(other, statistic), note=note)

    note = f"with rectified noise for ReLU, as published: {compared('G', 'rectified', _mean).value:.2f}"
    found["tanh-less-G"] = [compared("G", "plain", _mean, note)]
    note = f"with plain noise for both: {compared('R', 'plain', _fall).value:.2f}"
    found["tanh-smaller-fall"] = [compared("R", "rectified", _fall, note)]
    return found


def _gap(tanh: pd.DataFrame, relu: pd.DataFrame, quantity: str) -> Estimate:
    """Return each network's largest distance to its mean channel, tanh less ReLU, noise as published."""

    def sizes(table: pd.DataFrame, noise: str) -> np.ndarray:
        logs = distances(kept(table, "mean_channel", noise), kept(table, "trained", noise), quantity, _FIRST)
        return by_network(logs, lambda values: float(values.abs().max(skipna=False)))

    one, other = sizes(tanh, "plain"), sizes(relu, "rectified")
    note = f"largest over layers 1 to {_FIRST}: tanh {one.mean():.2f}, ReLU {other.mean():.2f}"
    if quantity == "G":
        note += "; plain noise for tanh, rectified for ReLU"
    return of_groups(one, other, quantity, note)


def _mean(values: pd.Series) -> float:
    return float(values.mean(skipna=False))


def _fall(values: pd.Series) -> float:
    return float(values[_FIRST] - values[1])


STUDY = Study(
    name="figB2",
    title="Sensitivities with ReLU and with tanh",
    source="Figure B2",
    shows="D, G and R by layer of simple CNNs with ReLU and with tanh. The published picture sets rectified noise for "
    "ReLU against plain noise for tanh; here both activations are shown under both, for which G is the larger "
    "depends on it.",
    scales=SIMPLE_NETWORKS,
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
    words=lambda tables: how_training_ended(tables, _BOTH),
)
