"""The parts of a smooth deformation: what they do to a grid, and what a network keeps of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from poolscope.report.curves import TITLES, check_quantity
from poolscope.report.scale import read_as_numbers
from poolscope.report.style import colours, house_style, is_dark, legend_below, own_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

#: Number of the colour (None: ink), line style and marker of each part.
_LOOKS: dict[str, tuple[int | None, str, str]] = {
    "smooth": (None, "-", "o"),
    "residual": (1, "-", "D"),
    "translation": (0, "-", "s"),
    "whole pixels": (0, ":", "s"),
    "rotation": (2, "--", "^"),
    "scaling": (4, "--", "v"),
    "shear": (3, "--", "P"),
    "blur": (5, "-.", "X"),
}
_VARIANTS = {
    ("trained", "eval"): (0, "o", "trained"),
    ("initial", "eval"): (1, "s", "initial, running statistics"),
    ("initial", "batch"): (2, "^", "initial, batch statistics"),
}
_LINES = 9  # of a grid, each way


def plot_grids(fields: Mapping[str, Tensor], *, ax: Axes | None = None) -> Axes:
    """Draw what displacement fields do to a square grid, one beside the other, two rows.

    Args:
        fields: ``[2, H, W]`` (dx, dy) in pixels, by name; all of one size.
        ax: where to draw (default: a new figure).
    """
    import numpy as np

    with house_style():
        ax = own_axes(ax, 6.4, 3.6)
        columns = -(-len(fields) // 2)
        ink, faint = ("#e4e7eb", "0.45") if is_dark() else ("#1f2328", "0.72")
        for number, (name, field) in enumerate(fields.items()):
            dx, dy = (each.double().cpu().numpy() for each in field)
            height, width = dx.shape
            left, top = (number % columns) * (width + 10), (number // columns) * (height + 13)
            rows, places = np.mgrid[:height, :width]
            for shift, colour, thick in ((0.0, faint, 0.6), (1.0, ink, 1.0)):
                x, y = left + places + shift * dx, top + rows + shift * dy
                for line in np.linspace(0, height - 1, _LINES).round().astype(int):
                    ax.plot(x[line], y[line], color=colour, linewidth=thick)
                for line in np.linspace(0, width - 1, _LINES).round().astype(int):
                    ax.plot(x[:, line], y[:, line], color=colour, linewidth=thick)
            ax.text(left + width / 2, top - 4, name, ha="center", va="bottom", fontsize=10)
        ax.set_aspect("equal")
        ax.invert_yaxis()
        ax.axis("off")
    return ax


def plot_parts(table: pd.DataFrame, quantity: str = "R", *, ax: Axes | None = None) -> Axes:
    """Draw D, G or R of one network against depth, a line for each part of a deformation, with 95 % bands.

    Args:
        table: one row a part and layer: ``component``, ``position``, ``depth``, the quantity, its ``_low``, ``_high``.
        quantity: "D", "G" or "R".
        ax: where to draw (default: a new figure).

    Raises:
        ValueError: another quantity.
    """
    check_quantity(quantity)
    with house_style():
        ax = own_axes(ax, 5.2, 4.4)
        for name in _present(table):
            rows = table[table["component"] == name].sort_values("position")
            number, line, marker = _LOOKS[name]
            colour = ("#e4e7eb" if is_dark() else "#1f2328") if number is None else colours()[number]
            values = rows[quantity].where(rows[quantity] > 0)
            ax.plot(
                rows["depth"], values, color=colour, linestyle=line, marker=marker, markersize=4,
                linewidth=2.2 if name == "smooth" else 1.5, label=name,
            )  # fmt: skip
            low, high = rows[f"{quantity}_low"], rows[f"{quantity}_high"]
            ax.fill_between(rows["depth"], low.where(low > 0), high, color=colour, alpha=0.12, linewidth=0)
        ax.set_yscale("log")
        read_as_numbers(ax.yaxis)
        if quantity == "R":
            ax.axhline(1, color="0.5", linewidth=0.9, zorder=0.5)
        ax.set_xlabel("depth (0: input, 1: output)")
        ax.set_title(TITLES[quantity], loc="left")
        legend_below(ax, 3)
    return ax


def plot_parts_at_output(table: pd.DataFrame, quantity: str = "R", *, ax: Axes | None = None) -> Axes:
    """Draw D, G or R of the output under each part of a deformation, a point with a 95 % interval for each network.

    Args:
        table: one row a part and network: ``component``, ``variant``, ``batch_norm``, the quantity, its ``_low`` and
            ``_high``.
        quantity: "D", "G" or "R".
        ax: where to draw (default: a new figure).

    Raises:
        ValueError: another quantity.
    """
    check_quantity(quantity)
    names = _present(table)
    with house_style():
        ax = own_axes(ax, 5.2, 3.8)
        for number, (key, (colour, marker, label)) in enumerate(_VARIANTS.items()):
            rows = table[(table["variant"] == key[0]) & (table["batch_norm"] == key[1])].set_index("component")
            rows = rows.loc[[name for name in names if name in rows.index]]
            if rows.empty:
                continue
            at = [names.index(name) + 0.22 * (number - 1) for name in rows.index]
            values = rows[quantity].where(rows[quantity] > 0)
            reach = [(values - rows[f"{quantity}_low"]).to_numpy(), (rows[f"{quantity}_high"] - values).to_numpy()]
            ax.errorbar(
                values, at, xerr=reach, color=colours()[colour], marker=marker, markersize=5, linestyle="none",
                elinewidth=1.6, label=label,
            )  # fmt: skip
        if quantity == "R":
            ax.axvline(1, color="0.5", linewidth=0.9, zorder=0.5)
        ax.set_xscale("log")
        read_as_numbers(ax.xaxis)
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.grid(axis="y", visible=False)
        ax.set_title(f"{TITLES[quantity]}, output", loc="left")
        legend_below(ax, 2, drop=0.3)
    return ax


def _present(table: pd.DataFrame) -> list[str]:
    there = set(table["component"])
    return [name for name in _LOOKS if name in there]
