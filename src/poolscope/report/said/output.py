"""What the output does: R, D and G of the last layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolscope.report.choose import main_variant, number, records
from poolscope.report.said.phrases import begin, each_case, interval, is_number, times

if TYPE_CHECKING:
    import pandas as pd


def what_the_output_does(results: pd.DataFrame, *, same_size: bool = True) -> list[str]:
    """Say for every model and amplitude whether the output reacts more to deformations or to noise, and by how much.

    Args:
        results: tables of results below each other.
        same_size: whether the noise had the size of the deformation.
    """
    noise = "noise of the same size" if same_size else "the noise"
    said = []
    for lead, rows in each_case(results):
        layers = records(rows[rows["variant"] == main_variant(rows)])
        said.append(" ".join([begin(lead, _ratio(layers[-1], noise)), *_sensitivities(layers[0], layers[-1])]))
    return said


def _ratio(row: dict[str, Any], noise: str) -> str:
    R, low, high = row["R"], row["R_low"], row["R_high"]
    if not (is_number(R) and is_number(low) and is_number(high)):
        return f"nothing can be said about R at the output: {row.get('note') or 'it has no interval'}."
    found = f"(R = {number(R)}, {interval(low, high)})"
    if low <= 1 <= high:
        return f"whether the output reacts more to the deformation or to {noise} cannot be told {found}."
    much = times(R, "less", "more")
    return f"the output reacts {much} to the deformation than to {noise} {found}."


def _sensitivities(first: dict[str, Any], last: dict[str, Any]) -> list[str]:
    parts = []
    for quantity, what in (("D", "the deformation"), ("G", "the noise")):
        value, error = last[quantity], last[f"{quantity}_se"]
        if not is_number(value):
            continue
        reach = 1.96 * error
        spread = f" ({interval(max(value - reach, 0.0), value + reach)})" if is_number(error) else ""
        before = f", the input by {number(first[quantity])}" if is_number(first[quantity]) else ""
        parts.append(f"{what} moves it by {quantity} = {number(value)}{spread}{before}")
    return [f"In units of the mean squared distance between two images, {'; '.join(parts)}."] if parts else []
