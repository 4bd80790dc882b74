"""Tables of finished runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def below_each_other(found: Mapping[str, Path], ending: str, names: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Return tables of several runs, those of one name below each other with the run's name in front.

    Args:
        found: folders of runs by name.
        ending: of the runs' names; what stands before it is the column ``network``.
        names: of the tables; those that no run has are left out.
    """
    import pandas as pd

    parts: dict[str, list[pd.DataFrame]] = {}
    for run, folder in found.items():
        if run.endswith(ending):
            for name, table in read_tables(folder, names).items():
                table.insert(0, "network", run.removesuffix(ending))
                parts.setdefault(name, []).append(table)
    return {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}
