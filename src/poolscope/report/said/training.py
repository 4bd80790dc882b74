"""What one network does more or less than another, from paired contrasts: trained against initial above all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from poolscope.report.choose import amplitudes, in_pixels, models, number, records, varying
from poolscope.report.said.phrases import all_of, begin, interval, is_number, named, times

if TYPE_CHECKING:
    import pandas as pd


def what_training_did(contrasts: pd.DataFrame, output: str | None = None) -> list[str]:
    """Say how R at the output differs between two networks at every amplitude, and whether their order changes.

    Args:
        contrasts: log(R_second / R_first) of layers, with 95 % intervals paired over images.
        output: name of the output layer (default, and where the table has no such row: the last one of the table).
    """
    if contrasts.empty:
        return []
    layers = contrasts["layer"].tolist()
    at_output = contrasts[contrasts["layer"] == (output if output in layers else layers[-1])]
    said = []
    for model in models(at_output):
        own = at_output[at_output["model"] == model] if model else at_output
        lead = f"{model}: " if len(models(at_output)) > 1 else ""
        for (first, second), rows in own.groupby(["first", "second"], sort=False):
            said += _pair(rows, named(str(first)), named(str(second)), lead)
    return said


def _pair(rows: pd.DataFrame, first: str, second: str, lead: str) -> list[str]:
    said = []
    found: dict[str, list[str]] = {"smaller": [], "larger": [], "unknown": []}
    several = len(amplitudes(rows)) > 1
    for row in records(rows):
        at = in_pixels({name: row[name] for name in varying(rows, amplitudes(rows)[0])})
        order, sentence = _one(row, first, second)
        found[order].append(at)
        said.append(begin(f"{lead}at {at}, " if at else lead, sentence))
    if several:
        said.append(begin(lead, _order(found["smaller"], found["larger"], found["unknown"], first, second)))
    return said


def _one(row: dict[str, Any], first: str, second: str) -> tuple[str, str]:
    """Return which order two networks have, and the sentence that says so."""
    where = "the output" if row["layer"] == "output" else row["layer"]
    ratio, low, high = row["log_ratio"], row["low"], row["high"]
    if not (is_number(ratio) and is_number(low) and is_number(high)):
        reason = row.get("note") or "it has no interval"
        return "unknown", f"nothing can be said about R of {second} at {where} against {first}: {reason}."
    found = f"(ratio {number(math.exp(ratio))}, {interval(math.exp(low), math.exp(high))}, paired over images)"
    if low <= 0 <= high:
        return "unknown", f"R of {second} at {where} cannot be told from that of {first} {found}."
    order = "smaller" if high < 0 else "larger"
    much = times(math.exp(ratio), "smaller", "larger")
    return order, f"R of {second} at {where} is {much} than that of {first} {found}."


def _order(smaller: list[str], larger: list[str], unknown: list[str], first: str, second: str) -> str:
    if smaller and larger:
        return (
            f"the order changes with the displacement: R of {second} is the smaller at {all_of(smaller)} and the "
            f"larger at {all_of(larger)}."
        )
    if not smaller and not larger:
        return f"at none of the displacements can {second} and {first} be told apart."
    word = "smaller" if smaller else "larger"
    if unknown:
        return f"R of {second} is the {word} at {all_of(smaller or larger)}; at {all_of(unknown)} no order can be told."
    return f"R of {second} is the {word} at every displacement measured."
