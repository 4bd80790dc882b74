"""The report of a measurement: what was measured, what was found, figures, tables, record, in one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from poolscope.report.choose import models, number
from poolscope.report.facts import displacements, facts, image_size
from poolscope.report.figures import AMPLITUDES, DEPTH, SAMPLES, SHARES, SPECTRA, panels
from poolscope.report.page import Section, write_page
from poolscope.report.said.phrases import all_of
from poolscope.report.tables import Table
from poolscope.report.words import topics

if TYPE_CHECKING:
    import pandas as pd

_READING = {
    DEPTH: [
        "D says how far a small smooth deformation moves a layer's representation, G how far noise of the same size "
        "does, both against the distance between the representations of two images. R = D / G falls where a network "
        "becomes invariant to where things are rather than to noise."
    ],
    AMPLITUDES: [],
    SHARES: [
        "Shuffling the channels between layers leaves what each filter does in space and destroys how channels are "
        "combined. The spatial share is the part of the fall of log R that survives it: 1, all of it is spatial "
        "pooling; 0, none, so that it was built by combining channels.",
        "Below 0, the shuffled network's R rises where the network's own falls; above 1, it falls even further. Where "
        "the network's R is above the input's, the share is that of its rise. A "
        "missing bar (a cross) means that nothing can be said, as where R has not measurably moved from the input.",
    ],
    SPECTRA: [
        "Filters that average over space hold most of their power in the constant level, on the left of the map; "
        "filters that take differences hold it on the right. White filters, with independent taps, hold as much in "
        "each frequency."
    ],
    SAMPLES: [],
}

_SENSITIVITIES = (
    "layer", "model", "variant", "draw", "displacement", "cutoff", "D", "D_se", "G", "G_se", "R", "R_low", "R_high",
    "note",
)
_CONTRASTS = (
    "layer", "model", "first", "second", "displacement", "cutoff", "R_first", "R_second", "log_ratio", "low", "high",
    "note",
)
_SHARES = (
    "layer", "model", "displacement", "cutoff", "R", "R_shuffled", "spatial_share", "spatial_share_se",
    "spatial_share_low", "spatial_share_high", "note",
)
_SPECTRUM = (
    "layer", "model", "kernel", "level", "eigenvalue", "multiplicity", "share", "share_se", "white_share", "init_share",
    "note",
)
_OPTIONAL = ("model", "variant", "draw", "displacement", "cutoff", "note", "kernel", "init_share", "first", "second")


def write_report(
    path: str | Path,
    *,
    title: str,
    results: pd.DataFrame,
    record: dict[str, Any],
    shares: pd.DataFrame | None = None,
    contrasts: pd.DataFrame | None = None,
    spectrum: pd.DataFrame | None = None,
    samples: Sequence[Tensor] | None = None,
    remarks: Sequence[str] = (),
) -> Path:
    """Write the page of a measurement: one HTML file, whole or not at all, that loads nothing.

    Args:
        path: where to.
        title: of the page.
        results: a result's table, or several below each other: models, variants and draws, with ``displacement`` and
            ``cutoff`` where several amplitudes were measured.
        record: how it was measured, nested as it likes; shown whole at the end.
        shares: the spatial share of each layer.
        contrasts: log(R_second / R_first) of layers, with 95 % intervals paired over images.
        spectrum: filter spectra, one row a level of a convolution.
        samples: images, deformed and noisy ones, each ``[n, C, H, W]``; the first three are shown.
        remarks: sentences of your own, shown with the summary.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: results without a row.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder of {path.name} must exist; {path.parent} is not a folder")
    said: list[str | tuple[str, Sequence[str]]] = list(topics(results, shares, contrasts, spectrum, record=record))
    if remarks:
        said.append(("Remarks", list(remarks)))
    drawn = panels(results, shares=shares, spectrum=spectrum, samples=samples)
    sections = [
        Section(heading, paragraphs=_READING[heading], panels=own)
        for heading in (SAMPLES, DEPTH, AMPLITUDES, SHARES, SPECTRA)
        if (own := [panel for panel in drawn if panel.section == heading])
    ]
    return write_page(
        path,
        title,
        subtitle=_subtitle(results, record),
        summary=said,
        sections=[
            Section("What was measured", facts=facts(results, record)),
            *sections,
            Section("The numbers", tables=_tables(results, shares, contrasts, spectrum)),
        ],
        record=record,
    )


def _subtitle(results: pd.DataFrame, record: dict[str, Any]) -> str:
    parts = [", ".join(models(results))]
    if isinstance(record.get("data"), str):
        parts.append(record["data"])
    if image_size(record):
        parts.append("{} × {} pixels".format(*image_size(record)[::-1]))
    sizes = [number(size) for size in displacements(results, record)]
    if sizes:
        parts.append(f"displaced by {all_of(sizes, 9)} px")
    return " · ".join(parts)


def _tables(
    results: pd.DataFrame,
    shares: pd.DataFrame | None,
    contrasts: pd.DataFrame | None,
    spectrum: pd.DataFrame | None,
) -> list[Table]:
    found = [
        Table("Sensitivities", results, _columns(results, _SENSITIVITIES), "Further columns are in the CSV file."),
    ]
    if contrasts is not None and len(contrasts):
        words = "log ratio: natural logarithm of R second / R first; low, high: its 95 % interval, paired over images "
        words += "(crossed over images and draws, where a control has several)."
        found.append(Table("Contrasts", contrasts, _columns(contrasts, _CONTRASTS), words))
    if shares is not None and len(shares):
        words = "Not clipped; low, high: 95 % interval over images and shuffles."
        found.append(Table("Spatial shares", shares, _columns(shares, _SHARES), words))
    if spectrum is not None and len(spectrum):
        words = "share: of the filters' power, by level of the kernel's grid Laplacian; se: over filters."
        found.append(Table("Filter spectra", spectrum, _columns(spectrum, _SPECTRUM), words))
    return found


def _columns(table: pd.DataFrame, wanted: Sequence[str]) -> list[str]:
    """Return the wanted columns that are there; of those that only tell rows apart, the ones that do."""
    there = [name for name in wanted if name in table]
    return [
        name
        for name in there
        if name not in _OPTIONAL or table[name].nunique(dropna=False) > 1 or (name == "note" and table[name].any())
    ]
