"""The claims as a table in Markdown, for the README and the documentation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from poolscope.studies.reproduce.claim_rows import entries

if TYPE_CHECKING:
    import pandas as pd

_MARKS = {"reproduced": "✓", "not reproduced": "✗", "inconclusive": "?", "not run": "–", "": ""}


def claims_markdown(claims: pd.DataFrame) -> str:
    """Return a Markdown table of the claims of `claims_table`, one row each, and a line that says what the marks mean.

    Columns: the claim with its source; the verdict at half, once and twice the published displacement (in the middle
    one alone where the claim depends on none); what was measured, with its 95 % interval, at the published one (of
    several parts the first that decides).
    """
    lines = ["| Claim | Source | ½ | published | 2 × | Measured, 95 % |", "|---|---|:-:|:-:|:-:|---|"]
    for entry in entries(claims):
        half, twice = (_MARKS[entry["marks"][place][2]] if entry["marks"] else "" for place in (0, 2))
        verdict = f"{_MARKS[entry['verdict']]} {entry['verdict']}"
        cells = (entry["sentence"], entry["source"], half, verdict, twice, _measured(entry))
        lines.append(f"| {' | '.join(map(_plain, cells))} |")
    meaning = ", ".join(f"{mark} {verdict}" for verdict, mark in _MARKS.items() if verdict)
    return "\n".join([*lines, "", f"{meaning}.", ""])


def _measured(entry: dict[str, object]) -> str:
    """Return the number that decides, and which part of the claim it is of, if there are several."""
    parts = entry["parts"]
    assert isinstance(parts, list)
    if not parts:
        return ""
    decides = next((part for part in parts if part["verdict"] == entry["verdict"]), parts[0])
    return f"{decides['part']}: {decides['measured']}" if len(parts) > 1 else str(decides["measured"])


def _plain(text: str) -> str:
    """Return text that Markdown takes as it is, in one line."""
    escaped = re.sub(r"([\\`*_\[\]|~^])", r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
