"""Picking rows of result tables: one amplitude, the layers in order, the network itself and its controls."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

#: Variants that are altered copies, or the network before training; the others are the network that is asked about.
CONTROLS = ("initial", "shuffled", "mean_channel", "mean_filters", "gaussian_filters")
AMPLITUDE = ("displacement", "cutoff")


def amplitudes(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the amplitudes of a table, as ``{"displacement": pixels, "cutoff": …}`` with the columns it has.

    In rising order; one empty dictionary for a table without such columns or with nothing in them.
    """
    columns = [name for name in AMPLITUDE if name in table and bool(table[name].notna().any())]
    if not columns:
        return [{}]
    found = table[columns].drop_duplicates().sort_values(columns[::-1])
    return [dict(zip(columns, row, strict=True)) for row in found.itertuples(index=False, name=None)]


def at_amplitude(table: pd.DataFrame, **wanted: float | None) -> pd.DataFrame:
    """Return the rows of one amplitude.

    Args:
        table: rows of one or several amplitudes.
        wanted: ``displacement`` (pixels) and ``cutoff``; None where the table holds one only.

    Raises:
        ValueError: several, and none is chosen; a chosen one is not there.
    """
    for name, value in wanted.items():
        if name not in table:
            if value is not None:
                raise ValueError(f"{name} chooses among the table's, which has no such column; got {value!r}")
            continue
        there = sorted(table[name].dropna().unique().tolist())
        listed = ", ".join(f"{each:g}" for each in there)
        if value is None and len(there) > 1:
            raise ValueError(f"one {name} at a time is drawn, choose it with {name}=; the table has {listed}")
        if value is not None:
            near = [each for each in there if math.isclose(each, value, rel_tol=1e-6)]
            if not near:
                raise ValueError(f"{name} must be one of the table's, {listed}; got {value!r}")
            table = table[table[name] == near[0]]
    return table


def one_model(table: pd.DataFrame, model: str | None) -> pd.DataFrame:
    """Return the rows of one model.

    Raises:
        ValueError: several, and none is chosen; the chosen one is not there.
    """
    if "model" not in table:
        return table
    there = list(dict.fromkeys(table["model"].tolist()))
    if model is None:
        if len(there) > 1:
            raise ValueError(f"one model at a time is drawn, choose it with model=; the table has {', '.join(there)}")
        return table
    if model not in there:
        raise ValueError(f"model must be one of the table's, {', '.join(there)}; got {model!r}")
    return table[table["model"] == model]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as dictionaries, in the order of their position."""
    ordered = table.sort_values("position", kind="stable") if "position" in table else table
    columns = list(map(str, table.columns))
    return [dict(zip(columns, row, strict=True)) for row in ordered.itertuples(index=False, name=None)]


def beyond_input(shares: pd.DataFrame) -> pd.DataFrame:
    """Return the shares of layers beyond the input, which has none."""
    return shares[shares["kind"] != "input"] if "kind" in shares else shares


def models(table: pd.DataFrame) -> list[str]:
    """Return the models of a table, in order; one empty name if it has no such column."""
    return list(dict.fromkeys(str(model) for model in table["model"])) if "model" in table else [""]


def variants(table: pd.DataFrame) -> list[str]:
    """Return the variants of a table, in order."""
    return list(dict.fromkeys(str(variant) for variant in table["variant"]))


def is_control(variant: str) -> bool:
    """Return whether a variant is a control, or one of several kinds of it ("shuffled, recalibrated")."""
    return variant.startswith(CONTROLS)


def main_variant(table: pd.DataFrame) -> str:
    """Return the variant that the page is about: the first that is not a control, else the first."""
    there = variants(table)
    return next((variant for variant in there if not is_control(variant)), there[0])


def varying(table: pd.DataFrame, amplitude: dict[str, Any]) -> dict[str, Any]:
    """Return the part of an amplitude that is not the same in the whole table."""
    return {name: value for name, value in amplitude.items() if table[name].nunique() > 1}


def number(value: float, digits: int = 3) -> str:
    """Return a number with so many significant digits, without an exponent where it is between 0.0001 and a million."""
    return f"{float(f'{value:.{digits}g}'):g}".replace("-", "−")


def in_pixels(amplitude: dict[str, Any]) -> str:
    """Return an amplitude in words, such as "0.3 px, cutoff 3"; empty for none."""
    parts = []
    if "displacement" in amplitude:
        parts.append(f"{number(amplitude['displacement'])} px")
    if "cutoff" in amplitude:
        parts.append(f"cutoff {amplitude['cutoff']:g}")
    return ", ".join(parts)
