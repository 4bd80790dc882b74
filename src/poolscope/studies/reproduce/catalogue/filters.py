"""Numbers about filters that several studies judge by: frequency against that before training, share of a level."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING

from poolscope.report import Panel
from poolscope.report.figures import spectrum_panels
from poolscope.report.style import MARKERS, Look, colours
from poolscope.studies.reproduce.catalogue.along import over_networks
from poolscope.studies.reproduce.catalogue.multiples import Series, multiples_size, plot_multiples
from poolscope.studies.reproduce.claim import Estimate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_Z = 1.96
_WITHIN = "over filters taken as independent"


def frequency_ratios(frequency: pd.DataFrame, network: str, layers: Collection[int]) -> list[Estimate]:
    """Return the mean frequency of layers' filters over that before training, a part each; over seeds if several.

    Args:
        frequency: tables of ``frequency_content`` below each other, with ``network`` and ``seed``.
        network: which.
        layers: numbers of convolutions, from 1.
    """
    own = _numbered(frequency[frequency["network"] == network])
    found = []
    for k, rows in own[own["k"].isin(layers)].groupby("k"):
        start = rows["init_frequency"]
        ratio, reach = rows["frequency"] / start, _Z * rows["frequency_se"] / start
        each = list(zip(ratio, ratio - reach, ratio + reach, strict=True))
        note = f"mean frequency {rows['frequency'].mean():.3f}, before training {start.mean():.3f} (white filters: 1)"
        found.append(over_networks(each, None, f"{network}, layer {k}", note, _WITHIN))
    return found


def constant_share(spectrum: pd.DataFrame, network: str, layers: Collection[int]) -> Estimate | None:
    """Return the mean share of the constant mode over layers, over seeds if several; None without the network."""
    own = spectrum[(spectrum["network"] == network) & (spectrum["level"] == 0)]
    own = _numbered(own)
    own = own[own["k"].isin(layers)]
    each = []
    for _, rows in own.groupby("seed"):
        value = float(rows["share"].mean())
        reach = _Z * math.sqrt(float((rows["share_se"] ** 2).sum())) / len(rows)
        each.append((value, value - reach, value + reach))
    if not each:
        return None
    shares = ", ".join(f"{share:.2f}" for share in own.groupby("k")["share"].mean())
    return over_networks(each, None, network, f"layers: {shares}", _WITHIN)


def _numbered(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with ``k``, the number of their convolution from 1."""
    return rows.assign(k=rows.groupby("network")["position"].rank(method="dense").astype(int))


def levels_panel(spectrum: pd.DataFrame, name: str, words: str) -> Panel:
    """Return small pictures, one for each convolution, of how much power its filters hold in each frequency (figure 4).

    Args:
        spectrum: tables of ``filter_spectrum`` below each other, with ``network`` and ``seed``; networks of equally
            many convolutions, of one kernel size.
        name: of the files.
        words: what the networks are, and were trained on, for the caption.
    """
    layers, seeds = int(_numbered(spectrum)["k"].max()), spectrum["seed"].nunique()
    bars = "bands: 95 % over filters" if seeds == 1 else f"thin: each of up to {seeds} seeds, thick: their mean"
    return Panel(
        name,
        f"{words}: power per mode of each convolution's filters, over that of white filters, which have 1 throughout. "
        "Modes from the constant one, 0, to the highest frequency, by the eigenvalue of the Laplacian of the kernel's "
        f"grid; those of one eigenvalue are taken together. Solid: trained; {bars}. Dotted: before training.",
        multiples_size(layers),
        lambda ax: _draw_levels(spectrum, ax),
        layout="wide",
        alt=f"{layers} small line charts of filter power against spatial frequency, one for each convolution.",
    )


def _draw_levels(spectrum: pd.DataFrame, ax: Axes) -> None:
    rows = _numbered(spectrum).assign(x=spectrum["level"] + 1, y=spectrum["share"] / spectrum["white_share"])
    reach = _Z * rows["share_se"] / rows["white_share"]
    rows = rows.assign(low=rows["y"] - reach, high=rows["y"] + reach, start=rows["init_share"] / rows["white_share"])
    series = []
    names = list(rows["network"].unique())
    for number, network in enumerate(names):
        own = rows[rows["network"] == network]
        several = own["seed"].nunique() > 1
        columns = ["k", "x", "y", *(["seed"] if several else ["low", "high"])]
        label = str(network) if len(names) > 1 else "trained"
        series.append(Series(label, own[columns], Look(number % len(colours()), "-", MARKERS[number])))
        before = own.groupby(["k", "x"], as_index=False)["start"].mean().rename(columns={"start": "y"})
        label = f"{network}, before" if len(names) > 1 else "before training"
        series.append(Series(label, before, Look(number % len(colours()), ":", "")))
    levels = rows.drop_duplicates("level").sort_values("level")["eigenvalue"]
    step = -(-len(levels) // 6)
    ticks = [f"{value:.2g}" if place % step == 0 else "" for place, value in enumerate(levels)]
    plot_multiples(series, ticks, (0.0, 1.08 * float(rows["y"].max())), title="Power per mode (white: 1)", ax=ax)


def panels_of(spectrum: pd.DataFrame, words: str) -> list[Panel]:
    """Return the figures of filter spectra of each network.

    Args:
        spectrum: tables of ``filter_spectrum`` below each other, with ``network``.
        words: what the networks were trained on, for the captions.
    """
    found = []
    for network, rows in spectrum.groupby("network", sort=False):
        own = rows.drop(columns=[name for name in ("network", "seed") if name in rows]).assign(model=str(network))
        for panel in spectrum_panels(own):
            found.append(
                Panel(
                    f"{network}-{panel.name}",
                    f"{network}, {words}. {panel.caption}",
                    panel.size,
                    panel.draw,
                    panel.alt,
                )
            )
    return found
