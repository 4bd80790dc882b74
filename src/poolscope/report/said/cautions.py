"""What the numbers do not show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolscope.report.choose import amplitudes, beyond_input, variants
from poolscope.report.said.phrases import tally

if TYPE_CHECKING:
    import pandas as pd


def cautions(
    results: pd.DataFrame, shares: pd.DataFrame | None = None, record: dict[str, Any] | None = None
) -> list[str]:
    """Say what limits the conclusions: one displacement, batch norm left as it was, rows without a number."""
    said = []
    if len({amplitude.get("displacement") for amplitude in amplitudes(results)}) < 2:
        said.append(
            "One displacement was measured. R depends on it, and networks can change order from one to another: what "
            "is said here holds at this one."
        )
    if "shuffled" in variants(results) or shares is not None:
        recalibrated = _anywhere(record or {}, "recalibrate")
        if recalibrated is not None and not any(recalibrated):
            said.append(
                "Batch norm was not estimated again after shuffling: its statistics no longer fit what reaches it, "
                "which alone moves R of the shuffled network."
            )
    missing = results[results["R"].isna()]
    if len(missing):
        said.append(f"{len(missing)} of {len(results)} rows have no R: {tally(_notes(missing))}.")
    if shares is not None:
        rows = beyond_input(shares)
        missing = rows[rows["spatial_share"].isna()]
        if len(missing):
            said.append(f"{len(missing)} of {len(rows)} spatial shares are not defined: {tally(_notes(missing))}.")
    return said


def _notes(rows: pd.DataFrame) -> list[str]:
    return rows["note"].fillna("").tolist() if "note" in rows else [""] * len(rows)


def _anywhere(record: Any, key: str) -> list[Any] | None:
    """Return every value of ``key`` in nested dictionaries and lists, None if it is nowhere."""
    inner = record.values() if isinstance(record, dict) else record if isinstance(record, list) else ()
    found = [record[key]] if isinstance(record, dict) and key in record else []
    for value in inner:
        found += _anywhere(value, key) or []
    return found or None
