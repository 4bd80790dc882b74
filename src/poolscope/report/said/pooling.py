"""Whether spatial or channel pooling makes the network invariant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolscope.report.choose import beyond_input, number, records
from poolscope.report.said.phrases import (
    Case,
    all_of,
    at_all,
    begin,
    each_model,
    grouped,
    interval,
    is_number,
    middle,
    reasons,
    thinned,
    with_intervals,
)

if TYPE_CHECKING:
    import pandas as pd

#: What follows from a share, for a fall of R and for a rise.
_MEANING = {
    ("falls", "below"): "none of it is spatial pooling, for with shuffled channels R rises above the input's instead",
    ("falls", "above"): "with shuffled channels R falls even further",
    ("falls", "none"): "no part of it can be shown to be spatial pooling, and channel pooling has a part in it",
    ("falls", "all?"): "spatial pooling has a part in it, and may be all of it",
    ("falls", "most"): "most of it is spatial pooling",
    ("falls", "less"): "the larger part of it is channel pooling",
    ("falls", "both"): "spatial and channel pooling both have a part in it",
    ("falls", "unclear"): "how much of it is spatial pooling cannot be told",
    ("rises", "below"): "the rise comes from combining channels, for with shuffled channels R falls below the input's "
    "instead",
    ("rises", "above"): "with shuffled channels R rises even further",
    ("rises", "none"): "no part of it can be shown to survive shuffled channels",
    ("rises", "all?"): "a part of it, and maybe all, survives shuffled channels",
    ("rises", "most"): "most of it survives shuffled channels",
    ("rises", "less"): "the larger part of it is lost with shuffled channels",
    ("rises", "both"): "a part of it survives shuffled channels, and a part does not",
    ("rises", "unclear"): "how much of it survives shuffled channels cannot be told",
}


def which_pooling(shares: pd.DataFrame) -> list[str]:
    """Say for every model the spatial share at the output, what follows, and where the share of a fall is largest.

    Where R rises from input to output, the share is of that rise. The largest share is said of the middle amplitude.
    """
    said = []
    for lead, cases in each_model(shares):
        said += [begin(lead, sentence) for sentence in _at_the_output(cases)]
        largest = _largest(middle(cases), len(cases) > 1)
        said += [begin(lead, largest)] if largest else []
    return said


def how_much_is_spatial(cases: list[Case]) -> str:
    """Return what follows from the shares at the output, of one model: of every amplitude, else of the middle one."""
    found = [(_direction(case), verdict(_layers(case)[-1])) for case in cases]
    one = len(set(found)) == 1
    chosen = found[0] if one else middle(found)
    return ("" if one else f"{at_all([middle(cases).at]).strip()} ") + _MEANING[chosen]


def says_nothing(row: dict[str, Any]) -> bool:
    """Return whether a share allows no conclusion: nan, without interval, or one that holds both 0 and 1."""
    return verdict(row) == "unclear"


def verdict(row: dict[str, Any]) -> str:
    """Return what a share's 95 % interval says of it."""
    share, low, high = row["spatial_share"], row["spatial_share_low"], row["spatial_share_high"]
    if not is_number(share, low, high) or (low <= 0 and high >= 1):
        return "unclear"
    if high < 0:
        return "below"
    if low > 1:
        return "above"
    if low <= 0:
        return "none"
    if high >= 1:
        return "all?"
    if low > 0.5:
        return "most"
    return "less" if high < 0.5 else "both"


def _layers(case: Case) -> list[dict[str, Any]]:
    return records(beyond_input(case.rows))


def _input(case: Case) -> float:
    """Return R of the input: 1 with noise of the same size, where the table does not hold it."""
    found = case.rows[case.rows["kind"] == "input"]["R"].tolist() if "kind" in case.rows else []
    return float(found[0]) if found else 1.0


def _direction(case: Case) -> str:
    return "rises" if _layers(case)[-1]["R"] > _input(case) else "falls"


def _at_the_output(cases: list[Case]) -> list[str]:
    rows = [(case.at, _direction(case), _layers(case)[-1]) for case in cases]
    known = [(at, way, row) for at, way, row in rows if not _no_number(row)]
    unknown = [(at, row) for at, _, row in rows if _no_number(row)]
    groups = grouped([((way, verdict(row)), (at, row)) for at, way, row in known])
    said = []
    for (way, found), group in groups.items():
        numbers = with_intervals(
            [(at, *(row[f"spatial_share{end}"] for end in ("", "_low", "_high"))) for at, row in group]
        )
        subject = (
            f"the spatial share of the fall of log R at the output is {numbers}"
            if way == "falls"
            else f"of the rise of log R at the output, shuffling the channels leaves {numbers}"
        )
        means = _MEANING[way, found]
        if found == "below":
            shuffled = [number(row["R_shuffled"]) for _, row in thinned(group) if is_number(row["R_shuffled"])]
            means += f", to {all_of(shuffled)}" if shuffled else ""
        said.append(f"{subject}: {means}.")
    if unknown:
        where = at_all([at for at, _ in unknown])
        why = reasons([row for _, row in unknown])
        said.append(f"nothing can be said about the spatial share at the output{where}: {why}.")
    return said


def _no_number(row: dict[str, Any]) -> bool:
    return not is_number(row["spatial_share"], row["spatial_share_low"], row["spatial_share_high"])


def _largest(case: Case, several: bool) -> str:
    """Say where the share of a fall is largest, unless that is the output or where shuffling hardly changes R.

    R is the same before any channel is shuffled, to what a new estimate of batch norm's statistics moves.
    """
    layers, before = _layers(case), _input(case)
    telling = [
        row
        for row in layers
        if row["R"] <= before
        and not says_nothing(row)
        and not abs(row["R_shuffled"] / row["R"] - 1) < 0.005
        and row["spatial_share_low"] < row["spatial_share_high"]
    ]
    best = max(telling, key=lambda row: float(row["spatial_share"]), default=None)
    if best is None or best is layers[-1] or not best["spatial_share_low"] > 0:
        return ""
    spread = interval(best["spatial_share_low"], best["spatial_share_high"])
    where = f"{at_all([case.at]).strip()}, " if several else ""
    return (
        f"{where}of the layers whose R is below the input's, the share is largest at {best['layer']}: "
        f"{number(best['spatial_share'])} ({spread})."
    )
