"""Mean filters beside the published ones: what tables C2 and C3 share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from poolscope.report import Panel
from poolscope.report.scale import read_as_numbers
from poolscope.report.style import MARKERS, VARIANTS, Look, colours, house_style, legend_below, own_axes
from poolscope.studies.reproduce.catalogue.multiples import Series, multiples_size, plot_multiples
from poolscope.studies.reproduce.catalogue.published_filters import Filters
from poolscope.studies.reproduce.catalogue.simple_cnns import extreme, over_seeds
from poolscope.studies.reproduce.claim import Estimate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def beside_published(filters: pd.DataFrame, published: Mapping[str, Filters]) -> pd.DataFrame:
    """Return measured mean filters beside the published ones, one row a layer and moment.

    Args:
        filters: of `poolscope.studies.scale_detection.measured.mean_filters`.
        published: filters by moment, "initial" and "trained".

    Returns:
        ``k``, ``moment``, ``published_1`` … and ``measured_1`` … (means over seeds), ``published_spread`` and
        ``measured_spread``, the standard deviation of the taps over the size of their mean (mean over seeds, with
        ``spread_low`` and ``spread_high``), ``measured_least``, the least tap over the largest in size, and ``seeds``.
        Layers that the published networks do not have are nan there.
    """
    import pandas as pd

    rows = []
    for key, group in filters.groupby(["moment", "k"], sort=False):
        moment, k = str(key[0]), int(group["k"].iloc[0])
        taps = taps_of(group)
        printed = published[moment]
        theirs = np.array(printed[k - 1] if k <= len(printed) else [np.nan] * taps.shape[1])
        mean, low, high = over_seeds(group["spread"])
        row = {"k": k, "moment": moment, "seeds": len(group)}
        row |= {f"published_{number}": value for number, value in enumerate(theirs, start=1)}
        row |= {f"measured_{number}": value for number, value in enumerate(taps.mean(0), start=1)}
        row |= {"published_spread": float(theirs.std() / abs(theirs.mean())), "measured_spread": mean}
        row |= {"spread_low": low, "spread_high": high, "measured_least": float(least(taps).mean())}
        rows.append(row)
    return pd.DataFrame(rows).sort_values(["moment", "k"], ascending=[False, True], ignore_index=True)


def taps_of(filters: pd.DataFrame) -> np.ndarray:
    """Return the taps of rows of mean filters, ``[rows, F]``."""
    return np.asarray(filters[[name for name in filters if str(name).startswith("tap_")]].to_numpy(dtype=float))


def least(taps: np.ndarray) -> np.ndarray:
    """Return the least tap of each filter over its largest in size: above 0 if all are positive, 1 if homogeneous."""
    return np.asarray(taps.min(-1) / np.abs(taps).max(-1))


def positive(filters: pd.DataFrame, layers: int) -> Estimate:
    """Return the least tap over the largest in size of trained mean filters, at the layer where it is least."""
    rows = filters[(filters["moment"] == "trained") & (filters["k"] <= layers)]
    return _of_layers(extreme(rows.assign(value=least(taps_of(rows))), "least"), rows, layers)


def homogeneous(filters: pd.DataFrame, layers: int) -> Estimate:
    """Return the spread of the taps over their mean of trained mean filters, at the layer where it is largest."""
    rows = filters[(filters["moment"] == "trained") & (filters["k"] <= layers)]
    return _of_layers(extreme(rows.assign(value=rows["spread"]), "largest"), rows, layers)


def _of_layers(estimate: Estimate, rows: pd.DataFrame, layers: int) -> Estimate:
    """Say so where the network has fewer layers than the claim names."""
    deepest = int(rows["k"].max())
    if deepest >= layers:
        return estimate
    return replace(estimate, note=f"{estimate.note}; there are only {deepest} layers")


def filter_panels(tables: Mapping[str, pd.DataFrame], table_name: str, seeds: int) -> list[Panel]:
    """Return the pictures of filters by layer and of their spread, beside the published ones.

    Args:
        tables: ``beside``, of `beside_published`, and ``filters``.
        table_name: of the paper, such as "C2".
        seeds: that were trained.
    """
    filters, beside = tables["filters"], tables["beside"]
    many = f"{seeds} seed{'s' if seeds > 1 else ''}"
    return [
        Panel(
            "filters",
            "Shape of the trained mean filter of each layer: its taps over their root mean square, so that a "
            "homogeneous positive filter is 1 throughout and one of negative taps lies below 0. Blue: here, thick the "
            f"mean of {many}, thin the seeds; green: as published in table {table_name}, of one network with 1000 "
            "channels; grey, dotted: before training, mean over seeds.",
            multiples_size(filters["k"].nunique()),
            lambda ax: _draw_filters(filters, beside, table_name, ax),
            alt=f"Small charts of the taps of the mean filters of {filters['k'].nunique()} layers, measured and "
            "published.",
            layout="wide",
        ),
        Panel(
            "spread",
            "Spread of the taps of each layer's mean filter over the size of their mean, 0 for a homogeneous one; "
            f"logarithmic. Blue: here, thick the mean of {many}, thin the seeds; green: as published in table "
            f"{table_name}, without a point where all printed digits are the same.",
            (5.2, 4.2),
            lambda ax: _draw_spread(filters, beside, table_name, ax),
            alt="Line chart of how homogeneous the mean filters are, layer by layer, measured and published.",
        ),
    ]


_PUBLISHED = Look(2, "--", "^")


def _draw_filters(filters: pd.DataFrame, beside: pd.DataFrame, table_name: str, ax: Axes) -> None:
    trained = beside[beside["moment"] == "trained"]
    taps = sum(str(name).startswith("tap_") for name in filters)
    series = [
        Series("here, after training", _shapes(filters[filters["moment"] == "trained"], "tap_"), VARIANTS["trained"]),
        Series(f"published, table {table_name}", _shapes(trained, "published_"), _PUBLISHED),
        Series("here, before", _shapes(filters[filters["moment"] == "initial"], "tap_", mean=True)),
    ]
    names = [str(number) for number in range(1, taps + 1)]
    plot_multiples(series, names, (-1.8, 1.8), title="Mean filters: taps over their root mean square", ax=ax)


def _shapes(rows: pd.DataFrame, prefix: str, *, mean: bool = False) -> pd.DataFrame:
    """Return taps over their root mean square, a row a tap: ``k``, ``x``, ``y``, and ``seed`` unless averaged."""
    import pandas as pd

    columns = [name for name in rows if str(name).startswith(prefix) and str(name)[len(prefix) :].isdigit()]
    values = rows[columns].to_numpy(dtype=float)
    shapes = values / np.sqrt(np.square(values).mean(1, keepdims=True))
    keys = ["k", "seed"] if "seed" in rows else ["k"]
    parts = [rows[keys].assign(x=number, y=shapes[:, number - 1]) for number in range(1, len(columns) + 1)]
    found = pd.concat(parts, ignore_index=True).sort_values([*keys, "x"])
    return found.groupby(["k", "x"])["y"].mean().reset_index() if mean else found


def _draw_spread(filters: pd.DataFrame, beside: pd.DataFrame, table_name: str, ax: Axes) -> None:
    trained = beside[beside["moment"] == "trained"]
    with house_style():
        ax = own_axes(ax)
        for _, rows in filters[filters["moment"] == "trained"].groupby("seed"):
            ax.plot(rows["k"], rows["spread"], color=colours()[0], linewidth=0.7, alpha=0.5)
        lines = (("measured_spread", "here", 0, "-"), ("published_spread", f"published, table {table_name}", 2, "--"))
        for column, label, colour, line in lines:
            ax.plot(
                trained["k"], trained[column].where(trained[column] > 0), color=colours()[colour], linestyle=line,
                marker=MARKERS[colour], markersize=4, linewidth=1.7, label=label,
            )  # fmt: skip
        ax.set_yscale("log")
        read_as_numbers(ax.yaxis)
        ax.set_xlabel("layer k")
        ax.set_title("spread of the taps over their mean", loc="left")
        legend_below(ax)


def about_sizes(filters: pd.DataFrame, channels: int) -> str:
    """Say how raw parameters depend on the number of channels, which the published networks have more of."""
    initial = filters[(filters["moment"] == "initial") & (filters["k"] > 1)]
    size = float(np.sqrt(np.square(taps_of(initial)).mean()))
    return (
        f"Raw parameters depend on the width: averages over {channels} channels of weights of variance 1 scatter by "
        f"1 / {channels} from layer 2 on ({size:.3g} here), with the published 1000 channels by 0.001. So the shapes "
        "are to be compared, not the sizes."
    )
