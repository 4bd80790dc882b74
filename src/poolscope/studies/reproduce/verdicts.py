"""The claims in short: one row each, with the verdict at the published displacement, its half and its twice."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from poolscope.studies.reproduce.claim import AMPLITUDES, Verdict, together

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    "claim", "study", "source", "sentence", "expected", "verdict", "half", "twice", "measured", "part", "note",
)  # fmt: skip
_WHEN = ("half", "verdict", "twice")


def by_claim(claims: pd.DataFrame) -> pd.DataFrame:
    """Return one row a claim of `claims_table`.

    Columns: ``claim, study, source, sentence, expected, verdict, half, twice, measured, part, note``. A claim of
    several parts is reproduced if each part is, and not if one is not. ``verdict`` is at the published displacement,
    ``half`` and ``twice`` at its half and its twice (empty for claims that depend on none), ``measured`` the number of
    the part that decides (of several, the first with that verdict) with its interval.
    """
    import pandas as pd

    rows = []
    for name, part in claims.groupby("claim", sort=False):
        first = part.iloc[0]
        row: dict[str, Any] = {key: first[key] for key in ("study", "source", "sentence", "expected")}
        row |= dict.fromkeys(_WHEN, "")
        depends = part["displacement"].notna()
        at_published = part
        for when, displacement in zip(_WHEN, AMPLITUDES, strict=True):
            here = part[(part["displacement"] - displacement).abs() < 1e-6]
            if len(here):
                row[when] = together(list(here["verdict"]))
                at_published = here if when == "verdict" else at_published
        if not depends.any():
            verdicts: list[Verdict] = list(part["verdict"])
            row["verdict"] = together(verdicts)
        elif not row["verdict"]:
            row["verdict"] = "not run"
        decides = at_published[at_published["verdict"] == row["verdict"]]
        decides = at_published if decides.empty else decides
        chosen = decides.iloc[0]
        row |= {"measured": measured(chosen), "part": chosen["part"], "note": chosen["note"]}
        rows.append({"claim": name, **row})
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def measured(row: Any) -> str:
    """Return a row's number with its interval in words, such as "-2.01 (-2.10 to -1.92)"."""
    if math.isnan(row["value"]):
        return ""
    if row["low"] == row["high"]:
        return f"{row['value']:.3g}"
    if math.isnan(row["low"]):
        return f"{row['value']:.3g} (no interval)"
    return f"{row['value']:.3g} ({row['low']:.3g} to {row['high']:.3g})"
