"""D, G and R against depth and against amplitude, with their intervals, from result tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolscope.report.choose import at_amplitude
from poolscope.report.scale import read_as_numbers
from poolscope.report.style import (
    MARKERS,
    VARIANTS,
    Look,
    colours,
    house_style,
    legend_below,
    new_figure,
    own_axes,
    short,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "D": "D: sensitivity to deformations",
    "G": "G: sensitivity to noise",
    "R": "R = D / G",
}


def check_quantity(quantity: str) -> None:
    """Refuse anything but D, G and R."""
    if quantity not in TITLES:
        raise ValueError(f"quantity must be one of {', '.join(TITLES)}; got {quantity!r}")


def interval(table: pd.DataFrame, quantity: str) -> tuple[pd.Series, pd.Series]:
    """Return the lower and upper 95 % bound of D, G (value ∓ 1.96 standard errors) or R (its own interval)."""
    if quantity == "R":
        return table["R_low"], table["R_high"]
    reach = 1.96 * table[f"{quantity}_se"]
    return (table[quantity] - reach).clip(lower=0), table[quantity] + reach


def plot_quantity(
    table: pd.DataFrame,
    quantity: str = "R",
    *,
    displacement: float | None = None,
    cutoff: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw D, G or R against depth, a line with a 95 % band for each model and variant.

    Several draws of a variant (shuffles) are thin lines under their geometric mean, over the draws that have a number,
    in one legend entry. Where a table holds nan, lines have a gap.

    Args:
        table: a result's table, or several below each other.
        quantity: "D", "G" or "R".
        displacement: which, in pixels, where the table holds several.
        cutoff: which, where the table holds several.
        ax: where to draw (default: a new figure).

    Returns:
        The axes drawn on.

    Raises:
        ValueError: another quantity; several amplitudes and none chosen, or one that is not in the table.
    """
    check_quantity(quantity)
    table = at_amplitude(table, displacement=displacement, cutoff=cutoff)
    with house_style():
        ax = own_axes(ax)
        entries = 0
        for label, look, rows in lines(table):
            _draw(ax, rows, "depth", quantity, label, look)
            entries += 1
        ax.set_yscale("log")
        read_as_numbers(ax.yaxis)
        if quantity == "R":
            _mark_one(ax)
        ax.set_xlabel("depth (0: input, 1: output)")
        ax.set_title(TITLES[quantity], loc="left")
        if entries > 1:
            legend_below(ax)
    return ax


def lines(table: pd.DataFrame, *further: str) -> list[tuple[str, Look, pd.DataFrame]]:
    """Return label, look and rows of each line: one for every model, variant and value of the ``further`` columns.

    One model: colour, line style and marker by variant. Several: colour and marker by model, line style by variant.
    """
    keys = ["model", "variant", *further]
    groups = list(table.groupby(keys, sort=False, dropna=False))
    names = list(dict.fromkeys(key[0] for key, _ in groups))
    kinds = {key[1] for key, _ in groups}
    found: list[tuple[str, Look, pd.DataFrame]] = []
    for (model, variant, *rest), rows in groups:
        if len(names) > 1 and len(kinds) > 1:
            label = f"{short(str(model), 22)}, {variant}"
        else:
            label = str(model if len(names) > 1 or variant == "given" else variant)
        label = label.replace("_", " ") if label == variant else label
        draws = rows["draw"].nunique() if "draw" in rows else 1
        if draws > 1:
            label = f"{label} ({draws} draws)"
        for name, value in zip(further, rest, strict=True):
            if table[name].nunique() > 1:
                label = f"{label}, {name} {value:g}"
        look = VARIANTS.get(str(variant), _another(len(found)))
        if len(names) > 1:
            number = names.index(model)
            look = look._replace(colour=number % len(colours()), marker=MARKERS[number % len(MARKERS)])
        elif any(table[name].nunique() > 1 for name in further):
            look = look._replace(marker=MARKERS[len(found) % len(MARKERS)])
        # matplotlib leaves labels that begin with "_" out of the legend
        found.append((short(label if label[:1] != "_" else f" {label}"), look, rows))
    return found


def _another(number: int) -> Look:
    """Return how a variant of no usual name is drawn: from the end of the cycles, which others seldom use."""
    dashes = (5.0, 1.0) if number % 2 else (2.0, 1.0)
    return Look(-1 - number % len(colours()), (0.0, dashes), MARKERS[-1 - number % len(MARKERS)])


def _draw(ax: Axes, rows: pd.DataFrame, x: str, quantity: str, label: str, look: Look) -> None:
    """Draw one line with its band, or the draws under their geometric mean."""
    import numpy as np

    colour = colours()[look.colour]
    size = 4.0 if rows[x].nunique() <= 25 else 2.2
    bold: dict[str, Any] = {"color": colour, "linestyle": look.line, "linewidth": 1.7, "label": label}
    bold |= {"marker": look.marker, "markersize": size}
    values = rows.assign(value=rows[quantity].where(rows[quantity] > 0))
    if "draw" in rows and rows["draw"].nunique() > 1:
        for _, draw in values.groupby("draw", sort=False):
            ax.plot(draw[x], draw["value"], color=colour, linestyle=look.line, linewidth=0.8, alpha=0.55)
        logs = np.log(values["value"]).groupby(values[x], sort=False).mean()
        ax.plot(logs.index, np.exp(logs), **bold)
        return
    ax.plot(values[x], values["value"], **bold)
    low, high = interval(values, quantity)
    ax.fill_between(values[x], low, high, color=colour, alpha=0.2, linewidth=0)


def _mark_one(ax: Axes) -> None:
    """Mark R = 1, where deformation and noise weigh the same, if it is in view."""
    low, high = ax.get_ylim()
    if low <= 1 <= high:
        ax.axhline(1, color="0.5", linewidth=0.9, zorder=0.5)


def plot_sensitivities(table: pd.DataFrame) -> Figure:
    """Draw D, G and R of one amplitude against depth, side by side."""
    with house_style():
        figure, axes = new_figure(10.5, 3.7, columns=3)
        for quantity, ax in zip(TITLES, axes, strict=True):
            plot_quantity(table, quantity, ax=ax)
        legends = [legend for ax in axes if (legend := ax.get_legend())]
        if legends:
            for legend in legends:
                legend.remove()
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), handlelength=2.6)
    return figure


def plot_amplitudes(table: pd.DataFrame, layer: str = "output", *, ax: Axes | None = None) -> Axes:
    """Draw R of one layer against the displacement, a line with a 95 % band for each model, variant and cutoff.

    Several draws of a variant are thin lines under their geometric mean.

    Args:
        table: a sweep's table, or several below each other; columns ``displacement`` (pixels) and ``cutoff``.
        layer: which layer.
        ax: where to draw (default: a new figure).

    Raises:
        ValueError: no such layer, or no displacements in the table.
    """
    chosen = table[table["layer"] == layer]
    if chosen.empty:
        raise ValueError(f"layer must be one of the table's; got {layer!r}")
    if "displacement" not in chosen or chosen["displacement"].isna().all():
        raise ValueError("the table must have displacements, R is drawn against them; it has none")
    chosen = chosen.sort_values("displacement", kind="stable")
    with house_style():
        ax = own_axes(ax)
        for label, look, rows in lines(chosen, *(["cutoff"] if "cutoff" in chosen else [])):
            _draw(ax, rows, "displacement", "R", label, look)
        ax.set_xscale("log")
        ax.set_yscale("log")
        read_as_numbers(ax.xaxis)
        read_as_numbers(ax.yaxis)
        _mark_one(ax)
        ax.set_xlabel("rms displacement (pixels)")
        ax.set_title(f"R at {_the(layer)}, by amplitude", loc="left")
        legend_below(ax)
    return ax


def _the(layer: str) -> str:
    return f"the {layer}" if layer in ("input", "output") else short(layer)
