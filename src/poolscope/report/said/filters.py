"""Which layers' filters are low-pass, and which take differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolscope.report.choose import models, number, records
from poolscope.report.said.phrases import all_of, tally
from poolscope.report.spectra import frequencies

if TYPE_CHECKING:
    import pandas as pd

#: Of a share or a mean frequency, before it is said to differ from white filters'.
ERRORS = 3.0


def what_filters_do(spectrum: pd.DataFrame) -> list[str]:
    """Say for every model which layers hold more of the constant level than white filters, and which frequencies above.

    Low-pass: the constant level's share is more than three of its standard errors above the white one. High-frequency:
    the aggregate of figure C5 exceeds 1 by more than three standard errors.
    """
    said = []
    for model in models(spectrum):
        own = spectrum[spectrum["model"] == model] if model else spectrum
        sentences = _one(own)
        said += [f"{model}: {' '.join(sentences)}"] if len(models(spectrum)) > 1 else sentences
    return said


def _one(spectrum: pd.DataFrame) -> list[str]:
    found = frequencies(spectrum)
    if not found:
        return [f"None of the convolutions has a spectrum: {_why(spectrum)}."]
    constant = records(spectrum[(spectrum["eigenvalue"].abs() < 1e-9) & spectrum["share"].notna()])
    low = [row for row in constant if row["share"] - row["white_share"] > ERRORS * row["share_se"]]
    high = [layer.layer for layer in found if layer.value - 1 > ERRORS * layer.se]
    if low:
        where = all_of([row["layer"] for row in low])
        top = max(low, key=lambda row: float(row["share"] / row["white_share"]))
        said = [
            f"Filters are low-pass in {len(low)} of {len(found)} convolutions: {where}; the constant part is "
            f"strongest at {top['layer']}, with {number(100 * top['share'])} % of the power "
            f"({number(100 * top['white_share'])} % in white filters)."
        ]
    else:
        said = [
            f"In none of {len(found)} convolutions do filters hold measurably more of the constant part than white "
            "ones."
        ]
    if high:
        said.append(f"They hold more high frequencies than white ones at {all_of(high)}.")
    least, most = min(found, key=lambda layer: layer.value), max(found, key=lambda layer: layer.value)
    spread = f" at {least.layer} to {number(most.value)} at {most.layer}" if len(found) > 1 else ""
    said.append(
        f"Their mean frequency, 1 for white filters, {'goes from' if spread else 'is'} {number(least.value)}{spread}."
    )
    without = spectrum["layer"].nunique() - len(found)
    if without:
        have = "convolutions have" if without > 1 else "convolution has"
        said.append(f"{without} further {have} no spectrum: {_why(spectrum)}.")
    return said


def _why(spectrum: pd.DataFrame) -> str:
    """Return the notes of the convolutions that have no spectrum."""
    return tally(spectrum[spectrum["share"].isna()].drop_duplicates("layer")["note"].fillna("").tolist())
