"""What the tables say, in plain words: every statement follows from numbers and their intervals, or says that none
does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolscope.report.choose import main_variant, models, number, variants
from poolscope.report.facts import displacements, has_matched_noise
from poolscope.report.said.before import what_was_there_before
from poolscope.report.said.cautions import cautions
from poolscope.report.said.depth import where_it_happens
from poolscope.report.said.filters import what_filters_do
from poolscope.report.said.output import what_the_output_does
from poolscope.report.said.phrases import all_of
from poolscope.report.said.pooling import which_pooling
from poolscope.report.said.short import in_short
from poolscope.report.said.training import what_training_did

if TYPE_CHECKING:
    import pandas as pd


def summary(
    results: pd.DataFrame,
    shares: pd.DataFrame | None = None,
    contrasts: pd.DataFrame | None = None,
    spectrum: pd.DataFrame | None = None,
    *,
    record: dict[str, Any] | None = None,
) -> list[str]:
    """Say in short sentences what was found, the answer first, each computed from the numbers and their intervals.

    One sentence covers all amplitudes where it can; what differs between them is said of each, or of the middle one.

    Args:
        results: tables of results below each other.
        shares: the spatial share of each layer.
        contrasts: log(R_second / R_first) of layers, with 95 % intervals.
        spectrum: filter spectra, one row a level of a convolution.
        record: how it was measured.

    Raises:
        ValueError: results without a row.
    """
    return [sentence for _, said in topics(results, shares, contrasts, spectrum, record=record) for sentence in said]


def topics(
    results: pd.DataFrame,
    shares: pd.DataFrame | None = None,
    contrasts: pd.DataFrame | None = None,
    spectrum: pd.DataFrame | None = None,
    *,
    record: dict[str, Any] | None = None,
) -> list[tuple[str, list[str]]]:
    """Return the sentences of ``summary`` by topic, in the order of a page."""
    if results.empty:
        raise ValueError("results must have a row for a layer, there is nothing to say of none; got none")
    record = record or {}
    last = results[results["position"] == results["position"].max()]["layer"].iloc[0]
    found = [
        ("In short", in_short(results, shares)),
        ("Measured", what_was_measured(results, record)),
        ("The output", what_the_output_does(results, same_size=has_matched_noise(record))),
        ("Where", where_it_happens(results)),
        ("Before", what_was_there_before(results)),
        ("Compared", what_training_did(contrasts, str(last), shares) if contrasts is not None else []),
        ("Pooling", which_pooling(shares) if shares is not None else []),
        ("Filters", what_filters_do(spectrum) if spectrum is not None and len(spectrum) else []),
        ("Keep in mind", cautions(results, shares, record)),
    ]
    return [(topic, said) for topic, said in found if said]


def what_was_measured(results: pd.DataFrame, record: dict[str, Any]) -> list[str]:
    """Say what the numbers are of: model, images, layers, displacements, variants."""
    names = models(results)
    images = sorted({int(count) for count in results["images"]}) if "images" in results else []
    counted = f"{' to '.join(str(count) for count in sorted({images[0], images[-1]}))} images" if images else "images"
    data = f" ({record['data']})" if isinstance(record.get("data"), str) else ""
    layers = " and ".join(str(results[results["model"] == name]["layer"].nunique() - 1) for name in names)
    sizes = displacements(results, record)
    moved = f"deformations of {all_of([number(size) for size in sizes], 9)} px rms" if sizes else "deformations"
    main = main_variant(results)
    others = [variant for variant in variants(results) if variant != main]
    noise = "noise of the same norm, image by image" if has_matched_noise(record) else "noise"
    beside = f" (with {all_of([_counted(results, variant) for variant in others], 9)} beside it)" if others else ""
    return [f"{all_of(names)}{beside}: {layers} layers on {counted}{data}, under {moved} and under {noise}."]


def _counted(results: pd.DataFrame, variant: str) -> str:
    draws = results[results["variant"] == variant]["draw"].nunique() if "draw" in results else 1
    return variant.replace("_", " ") + (f" ({draws} draws)" if draws > 1 else "")
