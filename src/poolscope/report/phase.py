"""Which of two networks has the smaller R, over the amplitude and the smoothness of the deformation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from poolscope.report.scale import read_as_numbers
from poolscope.report.spectra import diverging
from poolscope.report.style import MARKERS, colours, house_style, is_dark, legend_below, own_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_MOST = 2.0  # log ratio at which colours end: a factor of 7.4; the values lie in the pale middle of the map


def plot_phases(
    contrasts: pd.DataFrame, *, marked: Sequence[tuple[float, int]] = (), ax: Axes | None = None
) -> Axes:
    """Draw log(R trained / R initial) as a map, a cell for each displacement and cutoff.

    Blue: the trained network is the more invariant to deformations, relative to noise; orange: the initial one. Hatched
    cells hold no significant difference (95 %); crossed ones have deformations of which more than 1 % fold.

    Args:
        contrasts: ``displacement`` (pixels), ``cutoff``, ``log_ratio`` (natural), ``low``, ``high``, ``folded`` (share
            of deformations that fold somewhere).
        marked: displacements and cutoffs with a ring around their value.
        ax: where to draw (default: a new figure).
    """
    from matplotlib.patches import Rectangle

    sizes, cutoffs = sorted(set(contrasts["displacement"])), sorted(set(contrasts["cutoff"]))
    grid = np.full((len(cutoffs), len(sizes)), np.nan)
    for row in contrasts.to_dict("records"):
        grid[cutoffs.index(row["cutoff"]), sizes.index(row["displacement"])] = row["log_ratio"]
    with house_style():
        ax = own_axes(ax)
        image = ax.imshow(grid, cmap=diverging(), vmin=-_MOST, vmax=_MOST, origin="lower", aspect="auto")
        line = "#e4e7eb" if is_dark() else "#1f2328"
        for row in contrasts.to_dict("records"):
            x, y = sizes.index(row["displacement"]), cutoffs.index(row["cutoff"])
            unclear = not (row["high"] < 0 or row["low"] > 0)
            if unclear or row["folded"] > 0.01:
                hatch = ("///" if unclear else "") + ("xx" if row["folded"] > 0.01 else "")
                ax.add_patch(
                    Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, hatch=hatch, edgecolor=line, linewidth=0, alpha=0.3)
                )
            framed = any(np.isclose(row["displacement"], d) and row["cutoff"] == c for d, c in marked)
            weight = "bold" if framed else "normal"
            ax.text(x, y, f"{np.exp(row['log_ratio']):.2f}", ha="center", va="center", fontsize=8.5, fontweight=weight)
        for displacement, cutoff in marked:
            where = [number for number, size in enumerate(sizes) if np.isclose(size, displacement)]
            if where and cutoff in cutoffs:
                x, y = where[0], cutoffs.index(cutoff)
                ax.add_patch(Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, fill=False, edgecolor=line, linewidth=1.6))
        ax.set_xticks(range(len(sizes)), [f"{size:g}" for size in sizes])
        ax.set_yticks(range(len(cutoffs)), [f"{cutoff:g}" for cutoff in cutoffs])
        ax.grid(False)
        ax.set_xlabel("displacement (pixels, true rms)")
        ax.set_ylabel("cutoff")
        ax.set_title("R trained / R initial", loc="left")
        bar = ax.figure.colorbar(image, ax=ax, pad=0.02, ticks=[-np.log(3), -np.log(1.5), 0, np.log(1.5), np.log(3)])
        bar.ax.set_yticklabels(["1/3", "1/1.5", "1", "1.5", "3"])
        bar.outline.set_visible(False)
    return ax


def plot_cuts(rows: pd.DataFrame, *, marked: Sequence[float] = (), ax: Axes | None = None) -> Axes:
    """Draw R of the output against the displacement, a line with a 95 % band for each network.

    Args:
        rows: ``network`` (a label), ``displacement`` (pixels), ``R``, ``R_low``, ``R_high``; one cutoff.
        marked: displacements with a vertical line.
        ax: where to draw (default: a new figure).
    """
    with house_style():
        ax = own_axes(ax)
        for number, (name, own) in enumerate(rows.groupby("network", sort=False)):
            own = own.sort_values("displacement")
            colour = colours()[number % len(colours())]
            ax.plot(
                own["displacement"], own["R"], color=colour, marker=MARKERS[number % len(MARKERS)], markersize=4.5,
                linewidth=1.8, label=str(name),
            )  # fmt: skip
            ax.fill_between(own["displacement"], own["R_low"], own["R_high"], color=colour, alpha=0.16, linewidth=0)
        for displacement in marked:
            ax.axvline(displacement, color="0.5", linewidth=0.8, linestyle=":")
        ax.set_xscale("log")
        ax.set_yscale("log")
        read_as_numbers(ax.xaxis)
        read_as_numbers(ax.yaxis)
        ax.set_xlabel("displacement (pixels, true rms)")
        ax.set_title("R of the output", loc="left")
        legend_below(ax)
    return ax
