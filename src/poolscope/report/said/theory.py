"""What theory predicts, in sentences: where D, G and R go, where the laws hold, what learned filters change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from poolscope.report.choose import number
from poolscope.report.said.phrases import all_of

if TYPE_CHECKING:
    import pandas as pd


def where_predictions_go(table: pd.DataFrame) -> list[str]:
    """Say from where to where D, G and R go.

    Args:
        table: one row a layer: ``k``, ``D``, ``G_rectified``, ``R``, nan where they are not defined.
    """
    rows = table[table["R"].notna()]
    if rows.empty:
        return ["Nothing is left of where the pixels are from layer 1 on: D, G and R are not defined."]
    first, last = rows.iloc[0], rows.iloc[-1]
    if len(rows) == 1:
        values = [f"{name} is {number(first[column])}" for name, column in _COLUMNS.items()]
        return [f"At layer {first['k']} {all_of(values)}; G is of rectified noise."]
    changes = {name: f"{number(first[column])} to {number(last[column])}" for name, column in _COLUMNS.items()}
    said = (
        f"From layer {first['k']} to {last['k']}, D goes from {changes['D']} and G (rectified noise) from "
        f"{changes['G']}, so that R = D / G goes from {changes['R']}"
    )
    if last["R"] < first["R"]:
        said += ": without learning anything, averaging makes a network less sensitive to moves of pixels than to noise"
    return [f"{said}."]


_COLUMNS = {"D": "D", "G": "G_rectified", "R": "R"}


def where_laws_hold(
    sizes: dict[str, Any], within: dict[str, list[int]], holds_from: dict[str, int | None]
) -> list[str]:
    """Say what the laws are, and at which layers exact values are within 10 % of them, here and on large images.

    Args:
        sizes: ``length``, ``stride``, ``dim``, ``depth``.
        within: layers at which they are, by quantity.
        holds_from: layer from which they are on a large image; None: nowhere.
    """
    overlap = sizes["stride"] == 1
    field, falls = ("√(k (F² − 1) / 12)", "A⁻²") if overlap else ("Fᵏ", "A⁻¹")
    grows = "A" if sizes["dim"] == 1 else "A²"
    there = [f"{name} {'nowhere' if k is None else f'from layer {k} on'}" for name, k in holds_from.items()]
    return [
        f"For many layers and a large image D falls like {falls} and G grows like {grows}, with A = {field} pixels.",
        f"On {sizes['length']} pixels a side the exact values of {sizes['depth']} layers are within 10 % of these "
        f"laws, constants included, for {_at(within)}.",
        f"On an image that is large enough they are for {all_of(there)}.",
    ]


def what_learned_filters_do(homogeneous: pd.DataFrame, learned: pd.DataFrame, left_out: Sequence[str]) -> list[str]:
    """Say where learned mean filters do what homogeneous ones do, and what the prediction leaves out.

    Args:
        homogeneous, learned: one row a layer: ``k``, ``D``, ``G_rectified``, ``R``, ``note``.
        left_out: what else the network has.
    """
    rows, plain = learned.set_index("k"), homogeneous.set_index("k")
    alike = {
        name: [int(k) for k in rows.index if abs(rows[column][k] / plain[column][k] - 1) <= 0.1]
        for name, column in _COLUMNS.items()
    }
    said = [f"Of {len(rows)} layers, the mean filters give homogeneous ones' values within 10 % for {_at(alike)}."]
    for note, own in rows[rows["note"] != ""].groupby("note", sort=False):
        said.append(f"{_layers(own.index.tolist()).capitalize()}: {note}.")
    if left_out:
        said.append(f"The prediction leaves out the network's {all_of(left_out)}.")
    return said


def _at(layers: dict[str, list[int]]) -> str:
    return all_of([f"{name} at {_layers(numbers) or 'none'}" for name, numbers in layers.items()])


def _layers(numbers: Sequence[int]) -> str:
    """Return "layers 1 to 6 and 9" of 1, 2, 3, 4, 5, 6, 9; nothing for no layers."""
    runs: list[list[int]] = []
    for k in numbers:
        if runs and k == runs[-1][-1] + 1:
            runs[-1].append(k)
        else:
            runs.append([k])
    said = all_of([f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs])
    return f"layer{'s' if len(numbers) > 1 else ''} {said}" if said else ""
