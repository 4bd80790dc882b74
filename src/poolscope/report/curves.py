"""D, G and R against depth and against amplitude, with their intervals, from result tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolscope.report.style import house_style, new_figure, own_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLES = {
    "D": "D: sensitivity to deformations",
    "G": "G: sensitivity to noise",
    "R": "R = D / G",
}


def check_quantity(quantity: str) -> None:
    """Refuse anything but D, G and R."""
    if quantity not in _TITLES:
        raise ValueError(f"quantity must be one of {', '.join(_TITLES)}; got {quantity!r}")


def interval(table: pd.DataFrame, quantity: str) -> tuple[pd.Series, pd.Series]:
    """Return the lower and upper 95 % bound of D, G (value ∓ 1.96 standard errors) or R (its own interval)."""
    if quantity == "R":
        return table["R_low"], table["R_high"]
    reach = 1.96 * table[f"{quantity}_se"]
    return (table[quantity] - reach).clip(lower=0), table[quantity] + reach


def plot_quantity(table: pd.DataFrame, quantity: str = "R", *, ax: Axes | None = None) -> Axes:
    """Draw D, G or R against depth, a line with a 95 % band for each model and variant.

    Args:
        table: a result's table, or several below each other.
        quantity: "D", "G" or "R".
        ax: where to draw (default: a new figure).

    Returns:
        The axes drawn on.

    Raises:
        ValueError: another quantity.
    """
    check_quantity(quantity)
    with house_style():
        ax = own_axes(ax)
        groups = list(table.groupby(["model", "variant"], sort=False))
        models = {model for (model, _), _ in groups}
        variants = {variant for (_, variant), _ in groups}
        for (model, variant), rows in groups:
            if len(models) > 1 and len(variants) > 1:
                label = f"{model}, {variant}"
            else:
                label = str(model if len(models) > 1 or variant == "given" else variant)
            (line,) = ax.plot(rows["depth"], rows[quantity], marker="o", markersize=3.5, label=_short(label))
            low, high = interval(rows, quantity)
            ax.fill_between(rows["depth"], low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        ax.set_yscale("log")
        ax.set_xlabel("depth (0: input, 1: output)")
        ax.set_title(_TITLES[quantity], fontsize=10, loc="left")
        if len(groups) > 1:
            ax.legend()
    return ax


def _short(label: str) -> str:
    """Return a label that leaves room for the curves: of long ones, such as paths, the end."""
    return label if len(label) <= 32 else f"…{label[-31:]}"


def plot_sensitivities(table: pd.DataFrame) -> Figure:
    """Draw D, G and R against depth side by side."""
    with house_style():
        figure, axes = new_figure(10.5, 3.4, columns=3)
        for quantity, ax in zip(_TITLES, axes, strict=True):
            plot_quantity(table, quantity, ax=ax)
    return figure


def plot_amplitudes(table: pd.DataFrame, layer: str = "output", *, ax: Axes | None = None) -> Axes:
    """Draw R of one layer against the displacement, a line with a 95 % band for each variant and cutoff.

    Args:
        table: a sweep's table, or several below each other; columns ``displacement`` (pixels) and ``cutoff``.
        layer: which layer.
        ax: where to draw (default: a new figure).

    Raises:
        ValueError: no such layer.
    """
    chosen = table[table["layer"] == layer]
    if chosen.empty:
        raise ValueError(f"layer must be one of the table's; got {layer!r}")
    with house_style():
        ax = own_axes(ax)
        several = chosen["cutoff"].nunique() > 1
        for (model, variant, cutoff), rows in chosen.groupby(["model", "variant", "cutoff"], sort=False):
            name = str(variant if variant != "given" else model)
            label = f"{name}, cutoff {cutoff}" if several else name
            (line,) = ax.plot(rows["displacement"], rows["R"], marker="o", markersize=3.5, label=label)
            ax.fill_between(
                rows["displacement"], rows["R_low"], rows["R_high"], color=line.get_color(), alpha=0.2, linewidth=0
            )
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("rms displacement (pixels)")
        ax.set_title(f"R at the {layer}, by amplitude", fontsize=10, loc="left")
        ax.legend()
    return ax


def plot_training(rows: list[dict[str, Any]], *, ax: Axes | None = None) -> Axes:
    """Draw training and validation error against epochs.

    Args:
        rows: as ``poolscope.training.fit`` returns them.
        ax: where to draw (default: a new figure).
    """
    with house_style():
        ax = own_axes(ax)
        epochs = [row["epoch"] for row in rows]
        ax.plot(epochs, [1 - row["accuracy"] for row in rows], label="training")
        if "validation_accuracy" in rows[0]:
            ax.plot(epochs, [1 - row["validation_accuracy"] for row in rows], label="test")
        ax.set_yscale("symlog", linthresh=1e-3)  # an error of 0 has its place
        ax.set_ylim(bottom=0)
        ax.set_xlabel("epoch")
        ax.set_title("error", fontsize=10, loc="left")
        ax.legend()
    return ax
