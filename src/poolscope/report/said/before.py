"""What the network did before training: the part of the picture that was not learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolscope.report.said.output import change
from poolscope.report.said.phrases import at_all, begin, each_model, is_number, with_intervals

if TYPE_CHECKING:
    import pandas as pd


def what_was_there_before(results: pd.DataFrame) -> list[str]:
    """Say what R at the output of the initial network is, and where it falls without any training.

    Args:
        results: tables of results below each other.

    Returns:
        A sentence for each model; none where no initial network stands beside a trained one, or its R is undefined.
    """
    initial = results[results["variant"] == "initial"]
    if initial.empty or len(initial) == len(results):
        return []
    said = []
    for lead, cases in each_model(initial):
        ends = [(case.at, (case.layers()[0], case.layers()[-1])) for case in cases]
        ends = [end for end in ends if all(is_number(row["R"], row["R_low"], row["R_high"]) for row in end[1])]
        if not ends:
            continue
        numbers = with_intervals([(at, last["R"], last["R_low"], last["R_high"]) for at, (_, last) in ends])
        sentence = f"before training R = {numbers} at the output"
        fallen = [at for at, (first, last) in ends if last["R_high"] < first["R_low"]]
        if fallen:
            where = at_all(fallen) if len(ends) > 1 else ""
            sentence += f"; it falls{where} without anything learned: from input to output {change(ends, 'D')}, "
            sentence += f"and {change(ends, 'G')}"
        said.append(begin(lead, f"{sentence}."))
    return said
