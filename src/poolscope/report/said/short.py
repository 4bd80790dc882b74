"""The answer in one sentence: where and how the network loses spatial information, or that it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolscope.report.choose import models, number
from poolscope.report.said.depth import Course, carriers, course, half_reached
from poolscope.report.said.phrases import all_of, at_all, begin, cases, each_model, grouped, middle, place
from poolscope.report.said.pooling import how_much_is_spatial

if TYPE_CHECKING:
    import pandas as pd

_SAID = {
    "falls": "falls from input to output",
    "rises": "rises from input to output",
    "flat": "does not change measurably",
    "undefined": "is not defined at both ends",
}


def in_short(results: pd.DataFrame, shares: pd.DataFrame | None = None) -> list[str]:
    """Say for every model whether R falls from input to output, which layers carry that, and how much is spatial.

    Args:
        results: tables of results below each other.
        shares: the spatial share of each layer.
    """
    said = []
    for (lead, found), name in zip(each_model(results), models(results), strict=True):
        courses = [course(case) for case in found]
        spatial = ""
        own = shares[shares["model"] == name] if shares is not None and name and "model" in shares else shares
        if own is not None and len(own):
            spatial = how_much_is_spatial(cases(own))
        said.append(begin(lead, f"{_answer(courses, spatial)}."))
    return said


def _answer(courses: list[Course], spatial: str) -> str:
    directions = {each.direction for each in courses}
    several = len(courses) > 1
    word = "amplitude" if any("cutoff" in each.at for each in courses) else "displacement"
    every = f" at every {word}" if several else ""
    if directions == {"undefined"}:
        return "where the network loses spatial information cannot be said, for R is not defined at input and output"
    if directions == {"flat"}:
        told = f"R at the output cannot be told from the input's{f' at any {word}' if several else ''}"
        return f"no loss of spatial information can be shown: {told}"
    if directions == {"falls"}:
        said = f"relative to noise the network loses spatial information{every}, {_carried(courses)}"
        return "; ".join(filter(None, [said, spatial]))
    if directions == {"rises"}:
        said = f"relative to noise the network loses no spatial information: R rises from input to output{every}"
        return "; ".join(filter(None, [said, spatial]))
    groups = grouped([(each.direction, each.at) for each in courses])
    parts = [f"{_SAID[direction]}{at_all(groups[direction])}" for direction in _SAID if direction in groups]
    if {"falls", "rises"} <= directions:
        head = f"whether the network loses spatial information depends on the {word}"
    elif "falls" in directions:
        head = f"the network measurably loses spatial information at some {word}s only"
    else:
        head = "no loss of spatial information can be shown"
    return f"{head}: R {', '.join(parts)}"


def _carried(courses: list[Course]) -> str:
    """Say which layers carry half or more of the falls: of every amplitude if they are the same, else the middle's."""
    found = [carriers(each) for each in courses]
    same = len({None if each is None else tuple(each[0]) for each in found}) == 1
    which = courses if same else [middle(courses)]
    where = "" if same else f"{at_all([middle(courses).at]).strip()} "
    parts = [each for each in (found if same else [middle(found)]) if each is not None]
    if not parts:
        halves = list(dict.fromkeys(place(half_reached(each)["layer"]) for each in which))
        return f"{where}little by little: half of the fall of log R is reached at {all_of(halves)}"
    percents = list(dict.fromkeys(number(100 * part, 2) for part in sorted(part for _, part in parts)))
    percent = percents[0] if len(percents) == 1 else f"{percents[0]} to {percents[-1]}"
    return f"{where}{percent} % of the falls of log R being at {all_of(parts[0][0])}"
