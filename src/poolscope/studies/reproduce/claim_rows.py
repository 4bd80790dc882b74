"""The claims as they stand on the pages: one entry each, with its parts, its numbers and its verdicts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from poolscope.studies.reproduce.claim import AMPLITUDES
from poolscope.studies.reproduce.verdicts import by_claim, measured

if TYPE_CHECKING:
    import pandas as pd

#: In the order of the pages.
VERDICTS = ("reproduced", "not reproduced", "inconclusive", "not run")
_TIMES = ("½", "1", "2")


def entries(claims: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one entry a claim of `claims_table`, in its order.

    Each has the columns of `by_claim` and ``id`` of its element; ``rank`` of its verdict; ``quantity``, ``why``,
    ``erratum``; ``marks``: times the published displacement, displacement, verdict (none where the claim depends on no
    displacement); ``parts``: name, number and verdict of each, at the published displacement; ``counts`` of their
    verdicts in words; ``reasons`` for a verdict that is not "reproduced"; ``rows``: all that was measured.
    """
    return [_entry(row, claims[claims["claim"] == row["claim"]]) for row in by_claim(claims).to_dict("records")]


def _entry(short: dict[Any, Any], rows: pd.DataFrame) -> dict[str, Any]:
    first = rows.iloc[0]
    run = rows[rows["verdict"] != "not run"].to_dict("records")
    depends = rows["displacement"].notna().any()
    half, published, twice = AMPLITUDES
    headline = [row for row in run if not depends or abs(row["displacement"] - published) < 1e-6]
    parts = [{"part": row["part"], "measured": minus(measured(row)), "verdict": row["verdict"]} for row in headline]
    verdicts = (short["half"] or "not run", short["verdict"], short["twice"] or "not run")
    return {
        **short,
        "id": f"claim-{short['claim']}",
        "rank": VERDICTS.index(short["verdict"]),
        "quantity": first["quantity"],
        "expected": minus(short["expected"]),
        "why": first["why"],
        "erratum": first["erratum"],
        "measured": parts[0]["measured"] if len(parts) == 1 else "",
        "marks": list(zip(_TIMES, map(str, (half, published, twice)), verdicts, strict=True)) if depends else [],
        "parts": parts,
        "counts": ", ".join(
            f"{count} {verdict}" for verdict in VERDICTS if (count := sum(part["verdict"] == verdict for part in parts))
        ),
        "reasons": [reason for reason in (_note(short, parts), first["erratum"]) if reason],
        "rows": [
            {**row, **{name: number(row[name]) for name in ("displacement", "value", "low", "high")}} for row in run
        ],
        "has_part": any(row["part"] for row in run),
        "has_note": any(row["note"] for row in run),
    }


def _note(short: dict[Any, Any], parts: list[dict[str, Any]]) -> str:
    """Return the note of the part that decides, with its name where there are several."""
    if not short["note"]:
        return ""
    return f"{short['part']}: {short['note']}" if len(parts) > 1 and short["part"] else str(short["note"])


def number(value: float) -> dict[str, str | None]:
    """Return a number's text, to four digits, and all its digits; a dash and None for nan."""
    if math.isnan(value):
        return {"text": "–", "value": None}
    return {"text": minus(f"{value:.4g}"), "value": repr(float(value))}


def minus(text: str) -> str:
    """Return numbers in words with the sign for minus."""
    return text.replace("-", "\N{MINUS SIGN}")
