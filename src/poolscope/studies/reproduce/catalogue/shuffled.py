"""Numbers about shuffled networks that several studies judge by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolscope.studies.reproduce.catalogue.along import over_networks
from poolscope.studies.reproduce.claim import Estimate

if TYPE_CHECKING:
    import pandas as pd


def share_at_output(shares: pd.DataFrame, *, displaced: bool = True) -> list[Estimate]:
    """Return the share of the fall of log R at the output that shuffling leaves, by network and displacement.

    Over training seeds, if there are several; nan if the share of one of them is not defined.

    Args:
        shares: tables of ``pooling_share`` below each other, with ``network`` in front; several training seeds have
            different ``seed``.
        displaced: whether the claim depends on the displacement, which the estimates then name.
    """
    outputs = shares[shares["kind"] == "output"]
    found = []
    for (network, _), rows in outputs.groupby(["network", "displacement"], sort=False, dropna=False):
        each = [
            (row["spatial_share"], row["spatial_share_low"], row["spatial_share_high"])
            for row in rows.to_dict("records")
        ]
        notes = [f"R of the output over the input's: {', '.join(f'{value:.3g}' for value in rows['R'])}"]
        notes += sorted({str(note) for note in rows["note"] if note})
        where = float(rows["displacement"].iloc[0]) if displaced else None
        found.append(over_networks(each, where, str(network), "; ".join(notes), "over images and shuffles"))
    return found
