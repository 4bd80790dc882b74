"""The page of a network's filters alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolscope.report import Section, Table, save_panels, write_page
from poolscope.report.figures import spectrum_panels
from poolscope.report.said.filters import what_filters_do
from poolscope.sensitivity import Result

if TYPE_CHECKING:
    import pandas as pd


def write(folder: Path, model: str, table: pd.DataFrame, record: dict[str, Any]) -> list[Path]:
    """Write the spectra (Parquet), figures (PNG and PDF) and ``report.html``; return their paths.

    Args:
        folder: an existing folder.
        model: its name, for the title.
        table: of ``filter_spectrum``.
        record: how it was made.
    """
    drawn = spectrum_panels(table)
    return [
        Result(table, record).save(folder / "spectrum.parquet"),
        *save_panels(drawn, folder),
        write_page(
            folder / "report.html",
            f"The filters of {model}",
            summary=what_filters_do(table),
            sections=[Section("The filters", panels=drawn), Section("The numbers", tables=[Table("Spectra", table)])],
            record=record,
        ),
    ]
