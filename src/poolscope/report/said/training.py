"""What one network does more or less than another, from paired contrasts: trained against initial above all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from poolscope.report.choose import CONTROLS, amplitudes, models, number, records, varying
from poolscope.report.said.phrases import (
    all_of,
    at_all,
    begin,
    cases,
    grouped,
    is_number,
    named,
    place,
    reasons,
    thinned,
)
from poolscope.report.said.pooling import says_nothing

if TYPE_CHECKING:
    import pandas as pd

#: Variants of which there are several draws.
_DRAWN = ("shuffled", "gaussian_filters")


def what_training_did(
    contrasts: pd.DataFrame, output: str | None = None, shares: pd.DataFrame | None = None
) -> list[str]:
    """Say how R at the output differs between two networks, and whether their order changes with the amplitude.

    Args:
        contrasts: log(R_second / R_first) of layers, with 95 % intervals.
        output: name of the output layer (default, and where the table has no such row: the last one of the table).
        shares: spatial shares. Where there are any, shuffled networks are not compared; where they allow a conclusion
            at the output, neither are the other controls.
    """
    if contrasts.empty:
        return []
    layers = contrasts["layer"].tolist()
    at_output = contrasts[contrasts["layer"] == (output if output in layers else layers[-1])]
    said = []
    for model in models(at_output):
        own = at_output[at_output["model"] == model] if "model" in at_output else at_output
        lead = f"{model}: " if model and len(models(at_output)) > 1 else ""
        left_out = _told_by(shares, model)
        for (first, second), rows in own.groupby(["first", "second"], sort=False):
            if not str(second).startswith(left_out):
                said.append(begin(lead, _pair(rows, str(first), str(second))))
    return said


def _told_by(shares: pd.DataFrame | None, model: str) -> tuple[str, ...]:
    """Return the beginnings of the names of those variants of which the shares tell already."""
    own = shares
    if shares is not None and model and "model" in shares:
        own = shares[shares["model"] == model]
    if own is None or own.empty:
        return ()
    last = own[own["position"] == own["position"].max()] if "position" in own else own[-1:]
    if all(says_nothing(row) for row in records(last)):
        return ("shuffled",)
    return tuple(name for name in CONTROLS if name != "initial")


def _pair(rows: pd.DataFrame, first: str, second: str) -> str:
    found = [(case.at, records(case.rows)[0]) for case in cases(rows)]
    known = [(at, row) for at, row in found if is_number(row["log_ratio"], row["low"], row["high"])]
    unknown = [(at, row) for at, row in found if not is_number(row["log_ratio"], row["low"], row["high"])]
    where, why = place(found[0][1]["layer"]), reasons([row for _, row in unknown])
    if not known:
        return f"nothing can be said about R of {named(second)} at {where} against {named(first)}: {why}."
    shown = thinned(known)
    ratios = all_of([number(math.exp(row["log_ratio"])) for _, row in shown])
    spreads = all_of([f"{number(math.exp(row['low']))} to {number(math.exp(row['high']))}" for _, row in shown])
    sentence = (
        f"R of {named(second)} at {where} is {ratios} times that of {named(first)}{at_all([at for at, _ in shown])} "
        f"(95 % interval{'s' if len(shown) > 1 else ''} {spreads}, {_pairing([row for _, row in known])})"
    )
    orders = grouped([(_order(row), at) for at, row in known])
    parts = [sentence]
    if "smaller" in orders and "larger" in orders:
        what = all_of([f"the {name}" for name in varying(rows, amplitudes(rows)[0])])
        parts.append(
            f"their order changes with {what}: R of {named(second)} is the smaller{at_all(orders['smaller'])} and the "
            f"larger{at_all(orders['larger'])}"
        )
    if "unclear" in orders:
        which = f"{at_all(orders['unclear']).strip()} " if len(orders) > 1 else ""
        parts.append(f"{which}the two cannot be told apart")
    if unknown:
        parts.append(f"nothing can be said{at_all([at for at, _ in unknown])}: {why}")
    return f"{'; '.join(parts)}."


def _order(row: dict[str, Any]) -> str:
    if row["low"] <= 0 <= row["high"]:
        return "unclear"
    return "smaller" if row["high"] < 0 else "larger"


def _pairing(rows: list[dict[str, Any]]) -> str:
    """Say what the intervals are over: several draws of a control are crossed with images, as for shares."""
    names = [str(rows[0]["first"]), str(rows[0]["second"])]
    if not any(name.startswith(_DRAWN) for name in names):
        return "paired over images"
    if any(str(row.get("note") or "").startswith("one draw") for row in rows):
        return "one draw, paired over images alone"
    shuffled = any(name.startswith("shuffled") for name in names)
    return f"crossed over images and {'shuffles' if shuffled else 'draws of filters'}"
