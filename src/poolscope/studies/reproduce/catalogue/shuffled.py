"""Numbers about shuffled networks that several studies judge by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolscope.studies.reproduce.claim import Estimate

if TYPE_CHECKING:
    import pandas as pd


def share_at_output(shares: pd.DataFrame, *, displaced: bool = True) -> list[Estimate]:
    """Return the share of the fall of log R at the output that shuffling leaves, by network and displacement.

    Args:
        shares: tables of ``pooling_share`` below each other, with ``network`` in front.
        displaced: whether the claim depends on the displacement, which the estimates then name.
    """
    found = []
    for row in shares[shares["kind"] == "output"].to_dict("records"):
        falls = "falls" if row["R"] < _input(shares, row) else "rises"
        note = f"R of the output {row['R']:.3g}, of the input {_input(shares, row):.3g}: it {falls}"
        found.append(
            Estimate(
                row["spatial_share"],
                row["spatial_share_low"],
                row["spatial_share_high"],
                row["displacement"] if displaced else None,
                str(row["network"]),
                "over images and shuffles, one training seed",
                "; ".join(each for each in (note, str(row["note"] or "")) if each),
            )
        )
    return found


def _input(shares: pd.DataFrame, row: dict) -> float:  # type: ignore[type-arg]
    same = shares[(shares["network"] == row["network"]) & (shares["displacement"] == row["displacement"])]
    return float(same.sort_values("position")["R"].iloc[0])
