"""Where along the network R falls or rises."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from poolscope.report.choose import number
from poolscope.report.said.phrases import (
    Case,
    all_of,
    at_all,
    begin,
    each_model,
    grouped,
    is_number,
    middle,
    place,
    thinned,
)

if TYPE_CHECKING:
    import pandas as pd

Direction = Literal["falls", "rises", "flat", "undefined"]

#: A step from one layer to another is said when it exceeds so many standard errors: many layers are looked at.
ERRORS = 3.0


@dataclass(frozen=True)
class Course:
    """R from input to output at one amplitude.

    Attributes:
        at: words of the amplitude.
        rows: layers where R is defined, with their ``number``, the input's being 0.
        direction: of R from input to output; "flat" where its 95 % interval allows either, "undefined" without R at the
            output.
        depth: number of layers.
    """

    at: str
    rows: list[dict[str, Any]]
    direction: Direction
    depth: int


@dataclass(frozen=True)
class Step:
    """A change of log R from one layer to another, and its standard error."""

    change: float
    error: float
    before: dict[str, Any]
    after: dict[str, Any]


def course(case: Case) -> Course:
    """Return how R goes from input to output."""
    rows = [{**row, "number": count} for count, row in enumerate(case.layers())]
    known = [row for row in rows if is_number(row["R"], row["R_se"]) and row["R"] > 0]
    if len(known) < 2 or known[-1] is not rows[-1] or known[0] is not rows[0]:
        return Course(case.at, known, "undefined", len(rows) - 1)
    total = _step(known[0], known[-1])
    direction: Direction = "flat"
    if abs(total.change) > 1.96 * total.error:
        direction = "falls" if total.change < 0 else "rises"
    return Course(case.at, known, direction, len(rows) - 1)


def carriers(found: Course) -> tuple[list[str], float] | None:
    """Return the one to three layers that carry half or more of the falls of log R, and which part of them they carry.

    The steps of all layers at which log R falls are added up; of rises, where R rises from input to output. None where
    three layers whose steps stand out from their errors do not carry half of the sum.
    """
    sign = -1 if found.direction == "falls" else 1
    steps = [_step(before, after).change for before, after in itertools.pairwise(found.rows)]
    total = sum(step for step in steps if sign * step > 0)
    carried = 0.0
    chosen: list[Step] = []
    for step in _steps(found)[:3]:
        chosen.append(step)
        carried += step.change / total
        if carried >= 0.5:
            chosen.sort(key=lambda each: int(each.after["number"]))
            return [place(each.after["layer"]) for each in chosen], carried
    return None


def half_reached(found: Course) -> dict[str, Any]:
    """Return the layer from which on half of the change of log R, or more, has been made."""
    total = _step(found.rows[0], found.rows[-1]).change
    half = len(found.rows) - 1
    while _step(found.rows[0], found.rows[half - 1]).change / total >= 0.5:
        half -= 1
    return found.rows[half]


def where_it_happens(results: pd.DataFrame) -> list[str]:
    """Say for every model whether R falls or rises from input to output, where half is reached, and which layers do it.

    The course between is said of one amplitude, the middle one. Errors of two layers are taken as independent. They
    share images, so that this overstates them.
    """
    said = []
    for lead, cases in each_model(results):
        courses = [course(case) for case in cases]
        said.append(begin(lead, _ends(courses)))
        said += [begin(lead, sentence) for sentence in _between(courses)]
    return said


def _ends(courses: list[Course]) -> str:
    groups = grouped([(each.direction, each) for each in courses])
    parts = []
    for direction in ("falls", "rises", "flat", "undefined"):
        group = groups.get(direction, [])
        shown = group if direction == "undefined" else thinned(group)
        where = at_all([each.at for each in shown])
        if not group:
            continue
        if direction == "undefined":
            parts.append(f"R is not defined at both input and output{where}: where it falls cannot be said")
            continue
        inputs = dict.fromkeys(number(each.rows[0]["R"]) for each in shown)
        first = next(iter(inputs)) if len(inputs) == 1 else all_of([number(each.rows[0]["R"]) for each in shown])
        ends = f"from {first} at the input to {all_of([number(each.rows[-1]['R']) for each in shown])} at the output"
        word = "does not change measurably" if direction == "flat" else direction
        parts.append(f"R {word} {ends}{where}")
    return f"{'; '.join(parts)}."


def _between(courses: list[Course]) -> list[str]:
    defined = [each for each in courses if each.direction != "undefined"]
    if not defined:
        return []
    chosen = middle(defined)
    lead = f"{at_all([chosen.at]).strip()}, " if chosen.at else ""
    if chosen.direction == "flat":
        ways = [way for way in (_way(chosen, -1), _way(chosen, 1)) if way]
        return [f"{lead}on the way it {' and '.join(ways)}."] if ways else []
    noun = "fall" if chosen.direction == "falls" else "rise"
    half = half_reached(chosen)
    reached = f"half of the {noun} (on a log scale) is reached at {place(half['layer'])}, layer {half['number']} of "
    steps = _steps(chosen)[:3]
    same = ""
    if len(courses) > 1 and len({_layers(each) for each in courses}) == 1:
        same = f"; the same layers at every {'amplitude' if 'cutoff' in chosen.at else 'displacement'}"
    if steps:
        named = [
            f"{place(step.after['layer'])} ({number(step.before['R'])} to {number(step.after['R'])})" for step in steps
        ]
        largest = f"the largest {noun}{'s are' if len(steps) > 1 else ' is'} at {all_of(named)}"
    else:
        largest = f"no single layer's {noun} stands out from its error"
    said = [f"{lead}{reached}{chosen.depth}, and not lost again; {largest}{same}."]
    back = _way(chosen, 1 if noun == "fall" else -1)
    return [*said, f"{lead}R also {back}."] if back else said


def _layers(found: Course) -> tuple[str, ...]:
    """Return the layers that are said of a course."""
    if found.direction in ("flat", "undefined"):
        return (found.direction,)
    return (found.direction, half_reached(found)["layer"], *(step.after["layer"] for step in _steps(found)[:3]))


def _step(before: dict[str, Any], after: dict[str, Any]) -> Step:
    error = math.hypot(before["R_se"] / before["R"], after["R_se"] / after["R"])
    return Step(math.log(after["R"] / before["R"]), error, before, after)


def _steps(found: Course) -> list[Step]:
    """Return the steps between neighbours that go the way of the whole and stand out, the largest first."""
    sign = -1 if found.direction == "falls" else 1
    steps = [_step(before, after) for before, after in itertools.pairwise(found.rows)]
    clear = [step for step in steps if sign * step.change > ERRORS * step.error]
    return sorted(clear, key=lambda step: -sign * step.change)


def _way(found: Course, sign: int) -> str:
    """Say the largest rise (+1) or fall (-1) of R from any layer to a later one; nothing unless it is beyond doubt."""
    start, best = found.rows[0], None
    for row in found.rows[1:]:
        step = _step(start, row)
        if sign * step.change > ERRORS * step.error and (best is None or sign * (step.change - best.change) > 0):
            best = step
        if sign * (row["R"] - start["R"]) < 0:
            start = row
    if best is None:
        return ""
    ends = [f"{number(row['R'])} at {place(row['layer'])}" for row in (best.before, best.after)]
    return f"{'rises' if sign > 0 else 'falls'} from {ends[0]} to {ends[1]}"
