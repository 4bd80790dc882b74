"""Tables of finished runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from poolscope.sensitivity import read_result

if TYPE_CHECKING:
    import pandas as pd


def read_tables(folder: Path, names: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Return those of a run's tables that there are, by name."""
    return {
        name: read_result(folder / f"{name}.parquet").table
        for name in names
        if (folder / f"{name}.parquet").is_file()
    }
