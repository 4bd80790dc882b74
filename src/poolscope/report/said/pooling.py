"""Whether spatial or channel pooling makes the network invariant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolscope.report.choose import beyond_input, number, records
from poolscope.report.said.phrases import begin, each_case, interval, is_number

if TYPE_CHECKING:
    import pandas as pd


def which_pooling(shares: pd.DataFrame) -> list[str]:
    """Say for every model and amplitude the spatial share at the output, what follows from it, and the largest one."""
    said = []
    for lead, rows in each_case(beyond_input(shares)):
        layers = records(rows)
        sentence = begin(lead, _output(layers[-1]))
        # Without any width it is 1 by construction: no channel is shuffled before that layer.
        sure = [row for row in layers if not says_nothing(row)]
        telling = [row for row in sure if row["spatial_share_low"] < row["spatial_share_high"]]
        largest = max(telling, key=lambda row: float(row["spatial_share"]), default=None)
        if largest is not None and largest is not layers[-1]:
            sentence += f" Of the layers where something can be said, it is largest at {largest['layer']}: "
            sentence += f"{_share(largest)}."
        said.append(sentence)
    return said


def says_nothing(row: dict[str, Any]) -> bool:
    """Return whether a share allows no conclusion: nan, without interval, or one that holds both 0 and 1."""
    share, low, high = row["spatial_share"], row["spatial_share_low"], row["spatial_share_high"]
    return not (is_number(share) and is_number(low) and is_number(high)) or (low <= 0 and high >= 1)


def _share(row: dict[str, Any]) -> str:
    return f"{number(row['spatial_share'])} ({interval(row['spatial_share_low'], row['spatial_share_high'])})"


def _output(row: dict[str, Any]) -> str:
    low, high = row["spatial_share_low"], row["spatial_share_high"]
    if says_nothing(row):
        if is_number(row["spatial_share"]) and is_number(low) and is_number(high):
            return f"nothing can be concluded about the spatial share at the output: {_share(row)} holds both 0 and 1."
        return f"nothing can be said about the spatial share at the output: {row.get('note') or 'it has no interval'}."
    return f"the spatial share at the output is {_share(row)}: {_meaning(row, low, high)}."


def _meaning(row: dict[str, Any], low: float, high: float) -> str:
    """Say what an interval of the share means that does not hold both 0 and 1."""
    if high < 0:
        shuffled = row.get("R_shuffled", float("nan"))
        risen = f", to {number(shuffled)}, above 1" if is_number(shuffled) and shuffled > 1 else ""
        return f"below 0, for with shuffled channels R moves the other way{risen}; none of the fall is spatial pooling"
    if low > 1:
        return "above 1, for with shuffled channels R falls further than in the network itself"
    if low <= 0:
        return "no spatial pooling can be shown, and channel pooling has a part"
    if high >= 1:
        return "spatial pooling has a part, and may be all of it"
    if low > 0.5:
        return "most of the fall of log R survives shuffled channels: spatial pooling; the rest is channel pooling"
    if high < 0.5:
        return "less than half of the fall of log R survives shuffled channels; the larger part is channel pooling"
    return "both spatial and channel pooling have a part"
