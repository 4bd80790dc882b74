"""The phase diagram: where, in displacement and cutoff, a trained network has a smaller R than the initial one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from poolscope.report.phase import plot_cuts
from poolscope.report.scale import log_ticks, read_as_numbers
from poolscope.report.spectra import diverging
from poolscope.report.style import house_style, is_dark, own_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.contour import QuadContourSet

_MOST = float(np.log(4))  # log ratio at which colours end
_FOLDED = 0.01  # share of deformations that fold, beyond which a region is dotted
_QUANTITIES = {"D": "D", "G": "G", "R": "R = D / G"}


def plot_phase_diagram(
    contrasts: Mapping[str, pd.DataFrame],
    cut: pd.DataFrame,
    *,
    marked: Sequence[tuple[float, int]] = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw a map of R trained / R initial for each way of measuring the initial network, and a cut beside them.

    Between measured points (dots) the logarithm is interpolated linearly in log displacement and log cutoff. Blue:
    training lowers R; orange: it raises R; thick line: equality. Hatched: the 95 % interval holds equality; dotted:
    more than 1 % of the deformations fold. The first marked point is a star, further ones are diamonds.

    Args:
        contrasts: by what is written above its map: ``displacement`` (pixels), ``cutoff``, ``log_ratio`` (natural),
            ``low``, ``high``, ``folded`` (share of deformations that fold somewhere); two of each at least.
        cut: ``network`` (a label), ``displacement``, ``R``, ``R_low``, ``R_high``, at the marked points' cutoff.
        marked: displacements and cutoffs.
        ax: its place is divided (default: a new figure).

    Returns:
        ``ax``, whose frame is not drawn.

    Raises:
        ValueError: fewer than two displacements or cutoffs, between which nothing can be interpolated.
    """
    for rows in contrasts.values():
        if min(rows["displacement"].nunique(), rows["cutoff"].nunique()) < 2:
            raise ValueError(
                "a map needs two displacements and two cutoffs at least; got "
                f"{rows['displacement'].nunique()} and {rows['cutoff'].nunique()}"
            )
    with house_style():
        ax = own_axes(ax, 12.6, 4.4)
        places = _divided(ax, 1, len(contrasts) + 1, [1.0] * len(contrasts) + [1.15])[0]
        shown = None
        for number, (title, rows) in enumerate(contrasts.items()):
            shown = _map(places[number], rows, marked)
            places[number].set_title(title, loc="left")
            if number == 0:
                places[number].set_ylabel("cutoff: highest mode of the deformation")
            else:
                places[number].tick_params(labelleft=False)
        if shown is not None:
            ticks = [1 / 4, 1 / 3, 1 / 2, 1 / 1.4, 1, 1.4, 2, 3, 4]
            bar = ax.figure.colorbar(
                shown, ax=places[: len(contrasts)], orientation="horizontal", aspect=52, pad=0.02, ticks=np.log(ticks)
            )
            bar.ax.set_xticklabels(["1/4", "1/3", "1/2", "1/1.4", "1", "1.4", "2", "3", "4"])
            bar.set_label("◂  training lowers R          R trained / R initial          training raises R  ▸")
            bar.outline.set_visible(False)
        plot_cuts(cut, marked=[displacement for displacement, _ in marked], ax=places[-1])
        places[-1].legend(loc="best", handlelength=2.4)  # below, it would take the maps' height
        cutoffs = sorted({cutoff for _, cutoff in marked})
        if cutoffs:
            places[-1].set_title(f"R of the output, cutoff {cutoffs[0]}", loc="left")
    return ax


def plot_amplitude_maps(outputs: Mapping[str, pd.DataFrame], *, ax: Axes | None = None) -> Axes:
    """Draw D, G and R of several networks over displacement and cutoff, a row a quantity, on a common scale each.

    Args:
        outputs: by what is written above the column: ``displacement`` (pixels), ``cutoff``, ``D``, ``G``, ``R``; two
            displacements and two cutoffs at least.
        ax: its place is divided (default: a new figure).

    Returns:
        ``ax``, whose frame is not drawn.
    """
    from matplotlib.colors import LogNorm

    with house_style():
        ax = own_axes(ax, 9.6, 7.6)
        places = _divided(ax, len(_QUANTITIES), len(outputs), [1.0] * len(outputs))
        for row, (quantity, words) in enumerate(_QUANTITIES.items()):
            values = np.concatenate([rows[quantity].to_numpy(dtype=float) for rows in outputs.values()])
            low, high = float(np.nanmin(values[values > 0])), float(np.nanmax(values))
            if quantity == "R":  # equality of deformation and noise in the middle of the colours
                high = max(high, 1 / low, 1.1)
                low = 1 / high
            levels = np.geomspace(low, max(high, low * 1.1), 25)
            for column, (title, rows) in enumerate(outputs.items()):
                place = places[row][column]
                x, y, grid = _grid(rows, quantity)
                colours_of = diverging() if quantity == "R" else "cividis"
                shown = place.contourf(x, y, grid, levels=levels, norm=LogNorm(low, levels[-1]), cmap=colours_of)
                if quantity == "R" and np.nanmin(grid) < 1 < np.nanmax(grid):
                    place.contour(x, y, grid, levels=[1.0], colors=[_ink()], linewidths=1.2)
                _axes(place, x, y, labels=row == len(_QUANTITIES) - 1)
                if row == 0:
                    place.set_title(title, loc="left", fontsize=10)
                if column == 0:
                    place.set_ylabel("cutoff")
                else:
                    place.tick_params(labelleft=False)
            ticks = log_ticks(low, float(levels[-1]))
            bar = ax.figure.colorbar(shown, ax=places[row], pad=0.02, aspect=14, ticks=ticks)
            bar.ax.set_yticklabels([f"{tick:g}" for tick in ticks])
            bar.ax.minorticks_off()
            bar.set_label(words)
            bar.outline.set_visible(False)
    return ax


def _map(ax: Axes, rows: pd.DataFrame, marked: Sequence[tuple[float, int]]) -> QuadContourSet:
    """Draw one map."""
    x, y, ratio = _grid(rows, "log_ratio")
    _, _, low = _grid(rows, "low")
    _, _, high = _grid(rows, "high")
    _, _, folded = _grid(rows, "folded")
    clear = np.maximum(low, -high)  # above 0 where the interval does not hold equality
    ink = _ink()
    levels = np.linspace(-_MOST, _MOST, 29)
    shown = ax.contourf(x, y, ratio, levels=levels, cmap=diverging(), extend="both")
    _hatched(ax, x, y, clear, (-np.inf, 0.0), "////")
    _hatched(ax, x, y, np.log(np.maximum(folded, 1e-4)), (float(np.log(_FOLDED)), np.inf), "..")
    if np.nanmin(ratio) < 0 < np.nanmax(ratio):
        ax.contour(x, y, ratio, levels=[0.0], colors=[ink], linewidths=2.4)
    for row in rows.to_dict("records"):
        sure = row["low"] > 0 or row["high"] < 0
        ax.plot(
            row["displacement"], row["cutoff"], marker="o", markersize=3.2, color=ink, alpha=0.75,
            markerfacecolor=ink if sure else "none", markeredgewidth=0.7, clip_on=False,
        )  # fmt: skip
    ground = "#15181c" if is_dark() else "white"
    for number, (displacement, cutoff) in enumerate(marked):
        ax.plot(
            displacement, cutoff, marker="D" if number else "*", markersize=7.5 if number else 16, color=ink,
            markeredgecolor=ground, markeredgewidth=1.2, linestyle="none", zorder=5,
        )  # fmt: skip
    _axes(ax, x, y, labels=True)
    return shown


def _hatched(ax: Axes, x: Any, y: Any, grid: Any, between: tuple[float, float], hatch: str) -> None:
    """Hatch the region where a grid lies between two values."""
    from matplotlib.colors import to_rgba

    low, high = (float(np.clip(end, np.nanmin(grid) - 1, np.nanmax(grid) + 1)) for end in between)
    if low < high and bool(((grid > low) & (grid < high)).any()):
        region = ax.contourf(x, y, grid, levels=[low, high], colors="none", hatches=[hatch])
        region.set_edgecolor(to_rgba(_ink(), 0.45))
        region.set_linewidth(0)


def _grid(rows: pd.DataFrame, column: str) -> tuple[Any, Any, Any]:
    """Return displacements, cutoffs, and the column's values ``[cutoff, displacement]``."""
    table = rows.pivot(index="cutoff", columns="displacement", values=column)
    return table.columns.to_numpy(dtype=float), table.index.to_numpy(dtype=float), table.to_numpy(dtype=float)


def _axes(ax: Axes, x: Any, y: Any, *, labels: bool) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    read_as_numbers(ax.xaxis)
    ax.set_yticks(y, [f"{cutoff:g}" for cutoff in y])
    ax.minorticks_off()
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    ax.grid(False)
    if labels:
        ax.set_xlabel("displacement (pixels, true rms)")


def _divided(ax: Axes, rows: int, columns: int, widths: Sequence[float]) -> list[list[Axes]]:
    """Return axes in the place of one, whose frame goes."""
    ax.axis("off")
    place = ax.get_subplotspec()
    assert place is not None, "the axes must be a subplot, whose place can be divided"
    grid = place.subgridspec(rows, columns, width_ratios=widths)
    return [[ax.figure.add_subplot(grid[row, column]) for column in range(columns)] for row in range(rows)]


def _ink() -> str:
    return "#e4e7eb" if is_dark() else "#1f2328"
