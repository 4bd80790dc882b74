"""What spatial frequencies a network's filters hold, against white ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from poolscope.report.choose import models, number, one_model
from poolscope.report.scale import log_ticks
from poolscope.report.style import MARKERS, colours, house_style, is_dark, legend_below, own_axes, short, tell_apart

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap


class Frequency(NamedTuple):
    """Mean frequency of one layer's filters against white ones: 1 for white filters, 0 for constant ones.

    ``se`` is its standard error over filters; ``initial`` the mean frequency before training, nan where unknown.
    """

    model: str
    layer: str
    value: float
    se: float
    initial: float


def frequencies(spectrum: pd.DataFrame) -> list[Frequency]:
    """Return the mean frequency of every layer that has a spectrum, from the input (the aggregate of figure C5).

    Σ eigenvalue · share / Σ eigenvalue · white_share over levels. Its error is the column ``frequency_se``; where there
    is none, Σ eigenvalue · share_se / the same: the largest that the levels' own allow, however they hang together.

    Args:
        spectrum: one row a level of a convolution.
    """
    found = []
    for (model, layer), levels in _by_layer(spectrum):
        if levels["share"].isna().any():
            continue
        white = float((levels["eigenvalue"] * levels["white_share"]).sum())
        value, error, initial = (
            float((levels["eigenvalue"] * levels[column]).sum(skipna=False)) / white
            for column in ("share", "share_se", "init_share")
        )
        if "frequency_se" in levels:
            error = float(levels["frequency_se"].iloc[0])
        found.append(Frequency(model, layer, value, error, initial))
    return found


def _by_layer(spectrum: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Return model, layer and levels of every convolution, from the first layer, lowest frequency first."""
    named = spectrum if "model" in spectrum else spectrum.assign(model="")
    return [
        ((str(model), str(layer)), levels.sort_values("level"))
        for model in models(named)
        for layer, levels in named[named["model"] == model]
        .sort_values("position", kind="stable")
        .groupby("layer", sort=False)
    ]


def plot_spectrum(spectrum: pd.DataFrame, *, model: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw a map of all layers' filter spectra: colour says how many times the power of white filters a level holds.

    A row a convolution. From left to right its levels from low to high frequency, each as wide as its part of the
    kernel's frequencies (multiplicity over their number), so that kernels of any size share the axis and white filters
    would be evenly coloured. The colour is logarithmic and ends at ten times more or less. Rows of kernels without a
    spectrum (1x1) are hatched.

    Args:
        spectrum: one row a level of a convolution.
        model: which, where the table holds several.
        ax: where to draw (default: a new figure, as tall as the layers need).

    Raises:
        ValueError: several models and none chosen, or one that is not in the table; no rows.
    """
    import numpy as np
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    spectrum = one_model(spectrum, model)
    if spectrum.empty:
        raise ValueError("spectrum must have a row for a level of a convolution; got none")
    found = [(layer, levels) for (_, layer), levels in _by_layer(spectrum)]
    ratios = (spectrum["share"] / spectrum["white_share"]).dropna().clip(0.1, 10)
    reach = float(np.exp(np.abs(np.log(ratios)).max())) if len(ratios) else 2.0
    reach = max(reach, 2.0)  # small differences keep pale colours
    norm = LogNorm(1 / reach, reach, clip=True)
    with house_style():
        ax = own_axes(ax, *spectrum_size(spectrum))
        colours_of = diverging()
        mesh = None
        for row, (_, levels) in enumerate(found):
            if levels["share"].isna().any():
                empty = Rectangle((0, row - 0.46), 1, 0.92, fill=False, hatch="////", edgecolor="0.6", linewidth=0)
                ax.add_patch(empty)
                continue
            edges = np.concatenate([[0], np.cumsum(levels["multiplicity"]) / levels["multiplicity"].sum()])
            power = (levels["share"] / levels["white_share"]).clip(lower=1e-9).to_numpy()[None]
            mesh = ax.pcolormesh(edges, [row - 0.46, row + 0.46], power, cmap=colours_of, norm=norm, linewidth=0)
        names = [
            f"{name}  {levels['kernel'].iloc[0].replace('x', '×')}"
            for name, (_, levels) in zip(tell_apart([layer for layer, _ in found]), found, strict=True)
        ]
        ax.set_yticks(range(len(found)), names, fontsize=9 if len(found) < 30 else 8)
        ax.set_ylim(len(found) - 0.5, -0.5)
        ax.set_xlim(0, 1)
        ax.set_xticks([0.06, 0.95], ["constant", "highest"])
        ax.grid(False)
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        ax.set_xlabel("spatial frequency of the kernel")
        ax.set_title("Filter power against white", loc="left")
        if mesh is not None:
            ticks = log_ticks(1 / reach, reach)
            bar = ax.figure.colorbar(mesh, ax=ax, orientation="horizontal", aspect=36, pad=0.02, ticks=ticks)
            bar.ax.set_xticklabels([f"{tick:g}×" for tick in ticks])
            bar.ax.minorticks_off()
            bar.outline.set_visible(False)
    return ax


def spectrum_size(spectrum: pd.DataFrame) -> tuple[float, float]:
    """Return the width and height in inches in which every layer's row can be read."""
    return 4.8, 1.6 + max(0.17, min(0.3, 6 / spectrum["layer"].nunique())) * spectrum["layer"].nunique()


def plot_spectra(spectrum: pd.DataFrame, layer: str, *, model: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw one layer's filter spectrum (one panel of figure 4): share of the power in each level, low to high
    frequency.

    Error bars are 95 % over filters. Grey, dotted: white filters; dotted in colour: the network at initialisation.

    Args:
        spectrum: one row a level of a convolution.
        layer: which convolution.
        model: which, where the table holds several.
        ax: where to draw (default: a new figure).

    Raises:
        ValueError: no such layer, or it has no spectrum; several models and none chosen, or one that is not there.
    """
    import numpy as np

    spectrum = one_model(spectrum, model)
    levels = spectrum[spectrum["layer"] == layer].sort_values("level")
    if levels.empty:
        raise ValueError(f"layer must be one of the table's; got {layer!r}")
    if levels["share"].isna().any():
        reason = levels["note"].iloc[0] or levels["kernel"].iloc[0]
        raise ValueError(f"layer must be one that has a spectrum; got {layer!r}: {reason}")
    with house_style():
        ax = own_axes(ax)
        at = np.arange(len(levels))
        ax.plot(at, levels["white_share"], color="0.55", linestyle=":", linewidth=1.6, label="white filters")
        if levels["init_share"].notna().all():
            dotted: Any = {"linestyle": ":", "marker": "s", "markersize": 3.5, "label": "initial"}
            ax.plot(at, levels["init_share"], color=colours()[1], **dotted)
        solid: Any = {"marker": "o", "markersize": 4, "linewidth": 1.7, "capsize": 2, "label": "these filters"}
        ax.errorbar(at, levels["share"], yerr=1.96 * levels["share_se"], color=colours()[0], **solid)
        shown = at[:: max(1, len(at) // 8)]
        ax.set_xticks(shown, [number(float(levels["eigenvalue"].iloc[each])) for each in shown])
        ax.set_ylim(bottom=0)
        ax.set_xlabel("level: eigenvalue of the grid Laplacian")
        ax.set_title(f"Power by level, {short(layer, 24)}", loc="left")
        legend_below(ax, 3)
    return ax


def plot_frequency(spectrum: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the mean frequency of each layer's filters against white ones (figure C5), a line for each model.

    1 is white, below 1 low-pass. Bands: ∓1.96 standard errors over filters. Dotted: the network at initialisation,
    where known. Convolutions without a spectrum (1x1) are left out.

    Args:
        spectrum: one row a level of a convolution.
        ax: where to draw (default: a new figure).

    Raises:
        ValueError: no layer has a spectrum.
    """
    import numpy as np

    found = frequencies(spectrum)
    if not found:
        raise ValueError("spectrum must have a layer with shares, a kernel of more than one tap; got none")
    names = list(dict.fromkeys(layer.model for layer in found))
    with house_style():
        ax = own_axes(ax)
        ax.axhline(1, color="0.55", linestyle="--", linewidth=1, label="white filters")
        longest = 0
        for order, name in enumerate(names):
            colour, marker = colours()[order % len(colours())], MARKERS[order % len(MARKERS)]
            own = [layer for layer in found if layer.model == name]
            at = list(range(1, len(own) + 1))
            longest = max(longest, len(own))
            label = short(name, 24) if len(names) > 1 else "these filters"
            value, reach = np.array([each.value for each in own]), 1.96 * np.array([each.se for each in own])
            ax.plot(at, value, color=colour, marker=marker, markersize=4, linewidth=1.7, label=label)
            ax.fill_between(at, value - reach, value + reach, color=colour, alpha=0.2, linewidth=0)
            initial = [each.initial for each in own]
            if any(each == each for each in initial):
                label = "initial" if order == 0 else "_initial"
                ax.plot(at, initial, color=colour, linestyle=":", linewidth=1.6, label=label)
        drop = 0.42
        if len(names) == 1 and longest <= 20:
            labels = tell_apart([layer.layer for layer in found], 18)
            ax.set_xticks(range(1, longest + 1), labels, rotation=90, fontsize=8.5)
            drop = 0.12 + 0.075 * max(len(label) for label in labels)
        else:
            ax.set_xlabel("convolution, from the input")
        ax.set_ylim(bottom=0)
        ax.set_title("Mean frequency of the filters (white: 1)", loc="left")
        legend_below(ax, 3, drop=drop)
    return ax


def diverging() -> Colormap:
    """Return a map from blue (less) over the ground (equal) to orange (more), told apart with any colour vision."""
    from matplotlib.colors import LinearSegmentedColormap

    light = ["#08306b", "#0072B2", "#92c5de", "#f4f4f2", "#f5b58a", "#D55E00", "#7a2f00"]
    dark = ["#9fd4ff", "#3a94d6", "#1f4f78", "#23272c", "#7d4518", "#e27d2c", "#ffd29a"]
    return LinearSegmentedColormap.from_list("blue-orange", dark if is_dark() else light)
