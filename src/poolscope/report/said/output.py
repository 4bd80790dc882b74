"""What the output does: R, D and G of the last layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from poolscope.report.choose import number
from poolscope.report.said.phrases import (
    all_of,
    at_all,
    begin,
    each_model,
    grouped,
    is_number,
    reasons,
    thinned,
    with_intervals,
)

if TYPE_CHECKING:
    import pandas as pd

#: The words of a case with its layer.
Row = tuple[str, dict[str, Any]]


def what_the_output_does(results: pd.DataFrame, *, same_size: bool = True) -> list[str]:
    """Say for every model whether the output reacts more to deformations or to noise, and how D and G change to it.

    Args:
        results: tables of results below each other.
        same_size: whether the noise had the size of the deformation.
    """
    noise = "noise of the same size" if same_size else "the noise"
    said = []
    for lead, cases in each_model(results):
        layers = [(case.at, case.layers()) for case in cases]
        said.append(begin(lead, _ratio([(at, rows[-1]) for at, rows in layers], noise)))
        ends = [(at, (rows[0], rows[-1])) for at, rows in layers]
        said.append(begin(lead, f"from input to output {change(ends, 'D')}, and {change(ends, 'G')}."))
    return said


def _ratio(rows: list[Row], noise: str) -> str:
    known = [(at, row) for at, row in rows if is_number(row["R"], row["R_low"], row["R_high"])]
    unknown = [(at, row) for at, row in rows if not is_number(row["R"], row["R_low"], row["R_high"])]
    why = reasons([row for _, row in unknown])
    if not known:
        return f"nothing can be said about R at the output: {why}."
    numbers = with_intervals([(at, row["R"], row["R_low"], row["R_high"]) for at, row in known])
    orders = grouped([(_order(row), at) for at, row in known])
    told = [order for order in ("more", "less") if order in orders]
    where = {order: at_all(orders[order]) if len(orders) > 1 else "" for order in orders}
    parts = []
    if told:
        first, *rest = told
        than = f"to deformations than to {noise}"
        parts.append(f"it reacts {first} {than}{where[first]}{''.join(f', {order}{where[order]}' for order in rest)}")
    if "unclear" in orders:
        which = f"{where['unclear'].strip()} " if where["unclear"] else ""
        parts.append(f"{which}whether it reacts more to deformations or to {noise} cannot be told")
    if unknown:
        parts.append(f"{at_all([at for at, _ in unknown]).strip()} nothing can be said: {why}")
    return f"at the output R = {numbers}: {'; '.join(parts)}."


def _order(row: dict[str, Any]) -> str:
    if row["R_low"] <= 1 <= row["R_high"]:
        return "unclear"
    return "less" if row["R_high"] < 1 else "more"


def change(ends: list[tuple[str, tuple[dict[str, Any], dict[str, Any]]]], name: str) -> str:
    """Say by what factors D or G falls or rises; errors of the two layers are taken as independent.

    Args:
        ends: words of each case, and its rows of the first and the last layer.
        name: "D" or "G".
    """
    found = []
    for at, (first, last) in ends:
        factor, error = _factor(first, last, name)
        if not is_number(factor):
            found.append(("is not defined", (at, "")))
        elif not abs(math.log(factor)) > 1.96 * error:
            found.append(("does not change measurably", (at, "")))
        else:
            found.append(("falls" if factor < 1 else "rises", (at, number(max(factor, 1 / factor)))))
    parts = []
    groups = grouped(found)
    for what, group in groups.items():
        shown = thinned(group) if group[0][1] else group
        factors = [factor for _, factor in shown if factor]
        by = f" by {'factors' if len(factors) > 1 else 'a factor'} of {all_of(factors)}" if factors else ""
        where = at_all([at for at, _ in shown]) if len(groups) > 1 or len(shown) < len(group) else ""
        parts.append(f"{what}{by}{where}")
    return f"{name} {', '.join(parts)}"


def _factor(first: dict[str, Any], last: dict[str, Any], name: str) -> tuple[float, float]:
    """Return a layer's D or G over the input's, and the standard error of its logarithm."""
    before, after = first[name], last[name]
    errors = first[f"{name}_se"], last[f"{name}_se"]
    if not (is_number(before, after, *errors) and before > 0 and after > 0):
        return math.nan, math.nan
    return after / before, math.hypot(errors[0] / before, errors[1] / after)
