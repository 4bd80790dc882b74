"""What a record says of a measurement, as names and values for a reader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from poolscope.report.choose import amplitudes, models, number, variants
from poolscope.report.said.phrases import all_of

if TYPE_CHECKING:
    import pandas as pd

_NAMES = {
    "data": "Data",
    "images": "Images",
    "deformation": "Deformation",
    "noise": "Noise",
    "draws": "Draws per image",
    "seed": "Seed",
    "precision": "Precision",
    "readout": "Readout",
    "batch_norm": "Batch norm",
    "weights": "Weights",
    "device": "Device",
    "threads": "Threads",
    "seconds": "Seconds",
    "command": "Command",
}


def facts(results: pd.DataFrame, record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return names and values of what was measured; only what the table or the record holds.

    Displacements are given in pixels and as a fraction of the image's width.
    """
    found = [("Model" if len(models(results)) == 1 else "Models", ", ".join(models(results)))]
    found.append(("Variants", "; ".join(variant.replace("_", " ") for variant in variants(results))))
    size = image_size(record)
    if size:
        found.append(("Image size", f"{size[1]} × {size[0]} pixels (width × height)"))
    moved = displacements(results, record)
    if moved:
        found.append(("Displacement, rms", "; ".join(in_words(value, size) for value in moved)))
    for key, name in _NAMES.items():
        if key in record and record[key] is not None and not (key == "images" and not isinstance(record[key], int)):
            found.append((name, _deformations(record[key]) if key == "deformation" else _text(record[key])))
    versions = record.get("versions")
    if isinstance(versions, dict):
        found.append(("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    return found


def image_size(record: dict[str, Any]) -> tuple[int, ...]:
    """Return height and width of the images, or nothing where the record does not say."""
    size = record.get("size")
    if isinstance(size, Sequence) and len(size) == 2 and all(isinstance(each, int) for each in size):
        return tuple(size)
    return ()


def displacements(results: pd.DataFrame, record: dict[str, Any]) -> list[float]:
    """Return the rms displacements in pixels: those of the table, else the record's."""
    found = sorted({amplitude["displacement"] for amplitude in amplitudes(results) if "displacement" in amplitude})
    if found:
        return found
    told = record.get("displacement")
    if told is None and isinstance(record.get("deformation"), dict):
        told = record["deformation"].get("displacement")
    return [float(each) for each in (told if isinstance(told, list) else [told]) if isinstance(each, (int, float))]


def has_matched_noise(record: dict[str, Any]) -> bool:
    """Return whether the record says that the noise had the deformation's norm, image by image."""
    noise = str(record.get("noise", ""))
    return "MatchedNoise" in noise and "rectified=True" not in noise


def in_words(displacement: float, size: tuple[int, ...]) -> str:
    """Return a displacement in pixels, and as a fraction of the width where that is known."""
    share = f" ({number(100 * displacement / size[1], 2)} % of the width)" if size else ""
    return f"{number(displacement)} px{share}"


def _deformations(described: Any) -> str:
    """Return what was done to the images, all displacements of one kind and cutoff together."""
    each = described if isinstance(described, list) else [described]
    if not all(isinstance(one, dict) and "kind" in one for one in each):
        return _text(described)
    kinds: dict[str, list[dict[str, Any]]] = {}
    for one in each:
        kinds.setdefault(_kind(one), []).append(one)
    return "; ".join(kind + _sizes(own) for kind, own in kinds.items())


def _kind(one: dict[str, Any]) -> str:
    if isinstance(one.get("of"), dict):
        return f"{one['kind']} of {_deformations(one['of'])}"
    return str(one["kind"]) + (f", cutoff {_text(one['cutoff'])}" if one.get("cutoff") is not None else "")


def _sizes(own: list[dict[str, Any]]) -> str:
    sizes = list(dict.fromkeys(_text(one["displacement"]) for one in own if one.get("displacement")))
    said = f", rms displacement{'s' if len(sizes) > 1 else ''} {all_of(sizes, 9)} px" if sizes else ""
    folds = [one for one in own if one.get("fold_probability")]
    for one in folds:
        where = f" at {_text(one['displacement'])} px" if len(sizes) > 1 else ""
        said += f", fold probability {number(one['fold_probability'])}{where}"
    return said


def _text(value: Any) -> str:
    """Return a value of the record as a reader takes it in: numbers to four digits, no brackets."""
    if isinstance(value, dict):
        kind = f"{value['kind']}: " if "kind" in value else ""
        rest = (f"{name.replace('_', ' ')} {_text(each)}" for name, each in value.items() if name != "kind")
        return kind + ", ".join(rest)
    if isinstance(value, list):
        return "; ".join(dict.fromkeys(map(_text, value)))
    return number(value, 4) if isinstance(value, float) else str(value)
