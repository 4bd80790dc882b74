"""Tables as they stand in a page: four digits to look at, full precision to sort and to download."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from poolscope.report.panel import file_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

#: Longer tables are left out on paper.
_LONG = 60


@dataclass(frozen=True)
class Table:
    """A table of a page.

    Attributes:
        title: its heading; its CSV file is named after it.
        data: all that is downloaded.
        columns: which are shown (default: all).
        words: a line above it.
    """

    title: str
    data: pd.DataFrame
    columns: Sequence[str] = ()
    words: str = ""


def to_html(table: Table, number: int) -> dict[str, Any]:
    """Return what the page's template needs of a table, the ``number``-th of its page."""
    shown = table.data[list(table.columns)] if table.columns else table.data
    kinds = ["n" if dtype.kind in "iuf" else "t" for dtype in shown.dtypes]
    return {
        "id": f"t{number}",
        "title": table.title,
        "words": table.words,
        "file": f"{file_name(table.title)}.csv",
        "csv": csv_uri(table.data),
        "long": len(shown) > _LONG,
        "columns": [
            {"name": str(name).replace("_", " "), "kind": kind} for name, kind in zip(shown.columns, kinds, strict=True)
        ],
        "rows": [
            [_cell(value, kind) for value, kind in zip(row, kinds, strict=True)]
            for row in shown.itertuples(index=False, name=None)
        ],
    }


def csv_uri(table: pd.DataFrame) -> str:
    """Return the address of a CSV file that holds the table, every number in full."""
    text = table.to_csv(index=False, lineterminator="\n")
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(text.encode()).decode()}"


def _cell(value: Any, kind: str) -> dict[str, Any]:
    """Return text and, for a number, the value to sort by."""
    if kind == "n":
        if isinstance(value, float) and not math.isfinite(value):
            return {"text": "–" if math.isnan(value) else str(value), "value": None, "kind": kind}
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        return {"text": text.replace("-", "−"), "value": f"{value:.12g}", "kind": kind}
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return {"text": "" if missing else str(value), "value": None, "kind": kind}
