"""Training in pictures: errors, losses, and D, G, R against epochs and, epoch by epoch, against depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from poolscope.report.curves import TITLES, check_quantity
from poolscope.report.scale import read_as_numbers
from poolscope.report.style import MARKERS, colours, house_style, legend_below, own_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_LINES = (("test_", "test", "-", 0), ("validation_", "validation", "--", 1), ("", "training", ":", 2))
_TRAINED = tuple(marker for marker in MARKERS if marker != "s")  # squares are the initial network's
_ERRORS = (0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1)
_FEW = 3  # with fewer seeds, intervals over seeds would hide the lines
_TICKS = (0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000)
_LONG = 12  # more epochs than this are drawn on a scale that is linear up to 1 and logarithmic beyond


def plot_training(curve: pd.DataFrame, quantity: Literal["error", "loss"] = "error", *, ax: Axes | None = None) -> Axes:
    """Draw error or loss on training, validation and test images against epochs.

    Several seeds are thin lines under their mean, which ends where the first of them does; dead ones stay thin lines.
    The training images' are taken while the weights change.

    Args:
        curve: one row an epoch (and ``seed``): ``epoch`` and ``error``, ``validation_error``, ``test_error`` as far as
            there are, or the losses; ``status`` "dead" for runs that have no part in the mean.
        quantity: "error" or "loss".
        ax: where to draw (default: a new figure).

    Raises:
        ValueError: another quantity, or a table without it.
    """
    if quantity not in ("error", "loss") or quantity not in curve:
        raise ValueError(f"quantity must be error or loss, a column of the table; got {quantity!r}")
    alive = curve[curve["status"] != "dead"] if "status" in curve else curve
    seeds = alive["seed"].nunique() if "seed" in alive else 1
    dead = len(alive) < len(curve)
    with house_style():
        ax = own_axes(ax)
        drawn: list[str] = []
        for prefix, label, line, colour in _LINES:
            name = prefix + quantity
            if name not in curve or (drawn and curve[name].equals(curve[drawn[0]])):
                continue  # validation on the test images is drawn once, as test
            drawn.append(name)
            looks: dict[str, Any] = {"color": colours()[colour], "linestyle": line}
            if seeds > 1 or dead:
                for _, rows in curve.groupby("seed", sort=False):
                    ax.plot(rows["epoch"], rows[name], linewidth=0.7, alpha=0.5, **looks)
            mean = alive.groupby("epoch")[name].agg(["mean", "count"])
            whole = mean.loc[mean["count"] == seeds, "mean"]  # fewer, later ones would make it jump
            ax.plot(whole.index, whole, linewidth=1.8, label=label, **looks)
        _epochs(ax, curve["epoch"])
        if quantity == "error" and curve[drawn].min().min() > 0:
            ax.set_yscale("log")
            read_as_numbers(ax.yaxis)
        elif quantity == "error":  # an error of 0 has its place
            ax.set_yscale("symlog", linthresh=1e-3, linscale=0.4)
            ax.set_yticks(_ERRORS, [f"{error:g}" for error in _ERRORS])
            ax.set_yticks([], minor=True)
            ax.set_ylim(0, 1.1 * float(curve[drawn].max().max()))
        else:
            ax.set_ylim(bottom=0)
        ax.set_title("Error (share of the images)" if quantity == "error" else "Loss", loc="left")
        legend_below(ax, columns=3)
    return ax


def plot_dynamics(table: pd.DataFrame, *, layer: str = "output", ax: Axes | None = None) -> Axes:
    """Draw D, G and R of one layer against epochs, with 95 % bands unless there are two seeds.

    Args:
        table: of ``average_over_seeds``, one displacement and cutoff.
        layer: which.
        ax: where to draw (default: a new figure).

    Raises:
        ValueError: no such layer, or several amplitudes.
    """
    rows = _one_amplitude(table)
    rows = rows[rows["layer"] == layer].sort_values("epoch")
    if rows.empty:
        raise ValueError(f"layer must be one of {', '.join(dict.fromkeys(table['layer']))}; got {layer!r}")
    with house_style():
        ax = own_axes(ax)
        for number, (quantity, line) in enumerate(zip("RDG", ("-", "--", ":"), strict=True)):
            colour = colours()[number]
            ax.plot(
                rows["epoch"], rows[quantity], color=colour, linestyle=line, marker=MARKERS[number], markersize=4,
                linewidth=1.7, label=quantity,
            )  # fmt: skip
            if _banded(rows):
                low, high = rows[f"{quantity}_low"], rows[f"{quantity}_high"]
                ax.fill_between(rows["epoch"], low, high, color=colour, alpha=0.18, linewidth=0)
        _epochs(ax, rows["epoch"])
        ax.set_yscale("log")
        read_as_numbers(ax.yaxis)
        ax.set_title(f"{layer}: D, G and R = D / G", loc="left")
        legend_below(ax, columns=3)
    return ax


def plot_layers(table: pd.DataFrame, quantity: str = "R", *, ax: Axes | None = None) -> Axes:
    """Draw D, G or R against depth, one line for each epoch that was measured, early ones pale.

    Bands are as in `plot_dynamics`.

    Args:
        table: of ``average_over_seeds``, one displacement and cutoff.
        quantity: "D", "G" or "R".
        ax: where to draw (default: a new figure).

    Raises:
        ValueError: another quantity, or several amplitudes.
    """
    check_quantity(quantity)
    rows = _one_amplitude(table)
    epochs = sorted(set(rows["epoch"]))
    with house_style():
        ax = own_axes(ax)
        for number, epoch in enumerate(epochs):
            each = rows[rows["epoch"] == epoch].sort_values("depth")
            strength = (number + 1) / len(epochs)
            before = epoch == 0
            colour = colours()[1] if before else colours()[0]
            alpha = 1.0 if before else 0.3 + 0.7 * strength
            ax.plot(
                each["depth"], each[quantity], color=colour, alpha=alpha, linestyle=":" if before else "-",
                marker="s" if before else _TRAINED[number % len(_TRAINED)], markersize=4, linewidth=0.9 + strength,
                label="initial" if before else f"epoch {epoch}",
            )  # fmt: skip
            if _banded(each):
                low, high = each[f"{quantity}_low"], each[f"{quantity}_high"]
                ax.fill_between(each["depth"], low, high, color=colour, alpha=0.12 * alpha, linewidth=0)
        ax.set_yscale("log")
        read_as_numbers(ax.yaxis)
        ax.set_xlabel("depth (0: input, 1: output)")
        ax.set_title(TITLES[quantity], loc="left")
        legend_below(ax, columns=3)
    return ax


def _one_amplitude(table: pd.DataFrame) -> pd.DataFrame:
    amplitudes = table[["displacement", "cutoff"]].drop_duplicates()
    if len(amplitudes) != 1:
        raise ValueError(f"the table must be of one displacement and cutoff, R depends on them; got {len(amplitudes)}")
    return table


def _banded(rows: pd.DataFrame) -> bool:
    return bool((rows["seeds"] == 1).all() or (rows["seeds"] >= _FEW).all())


def _epochs(ax: Axes, epochs: pd.Series) -> None:
    ax.set_xlabel("epoch (0: initial network)" if epochs.min() == 0 else "epoch")
    if epochs.max() > _LONG:
        ax.set_xscale("symlog", linthresh=1, linscale=0.4)
        ticks = [tick for tick in _TICKS if tick <= epochs.max()]
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.set_xticks([], minor=True)
    else:
        from matplotlib.ticker import MaxNLocator

        ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
