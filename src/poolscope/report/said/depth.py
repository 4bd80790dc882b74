"""Where along the network R falls or rises."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from poolscope.report.choose import main_variant, number, records
from poolscope.report.said.phrases import all_of, begin, each_case, is_number

if TYPE_CHECKING:
    import pandas as pd

#: A step from one layer to another is said when it exceeds so many standard errors: many layers are looked at.
ERRORS = 3.0


def where_it_happens(results: pd.DataFrame) -> list[str]:
    """Say for every model and amplitude which layers carry the falls of log R, where half is reached, where R rises.

    Errors of two layers are taken as independent. They share images, so that this overstates them.
    """
    said = []
    for lead, rows in each_case(results):
        said.append(begin(lead, " ".join(_one(records(rows[rows["variant"] == main_variant(rows)])))))
    return said


def _one(rows: list[dict[str, Any]]) -> list[str]:
    known = [row for row in rows if is_number(row["R"]) and row["R"] > 0 and is_number(row["R_se"])]
    if len(known) < 2 or known[-1] is not rows[-1]:
        return ["where R falls cannot be said, for R is not defined at the output."]
    return _fall(known) + _rise(known)


def _change(first: dict[str, Any], second: dict[str, Any]) -> tuple[float, float]:
    """Return log(R2 / R1) and its standard error."""
    return math.log(second["R"] / first["R"]), math.hypot(first["R_se"] / first["R"], second["R_se"] / second["R"])


def _fall(rows: list[dict[str, Any]]) -> list[str]:
    total, error = _change(rows[0], rows[-1])
    if not total < -1.96 * error:
        return ["from input to output R does not fall measurably."]
    half = len(rows) - 1
    while _change(rows[0], rows[half - 1])[0] <= total / 2:
        half -= 1
    said = [
        f"R falls from {number(rows[0]['R'])} at the input to {number(rows[-1]['R'])} at the output; half of that (on "
        f"a log scale) is reached at {rows[half]['layer']}, layer {half} of {len(rows) - 1}, and not lost again."
    ]
    steps = [(*_change(before, after), before, after) for before, after in itertools.pairwise(rows)]
    falls = sorted((step for step in steps if step[0] < -ERRORS * step[1]), key=lambda step: step[0])[:3]
    if falls:
        named = [f"{after['layer']} ({number(before['R'])} to {number(after['R'])})" for _, _, before, after in falls]
        said.append(f"The largest fall{'s are' if len(falls) > 1 else ' is'} at {all_of(named)}.")
    else:
        said.append("No single layer's fall stands out from its error.")
    return said


def _rise(rows: list[dict[str, Any]]) -> list[str]:
    """Say the largest rise of R from any layer to a later one, if it is beyond doubt."""
    lowest, best = rows[0], (0.0, rows[0], rows[0])
    for row in rows[1:]:
        rise, error = _change(lowest, row)
        if rise > ERRORS * error and rise > best[0]:
            best = (rise, lowest, row)
        if row["R"] < lowest["R"]:
            lowest = row
    rise, start, end = best
    if not rise:
        return []
    return [f"R also rises: from {number(start['R'])} at {start['layer']} to {number(end['R'])} at {end['layer']}."]
