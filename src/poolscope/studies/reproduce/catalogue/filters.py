"""Numbers about filters that several studies judge by: frequency against that before training, share of a level."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING

from poolscope.report import Panel
from poolscope.report.figures import spectrum_panels
from poolscope.studies.reproduce.claim import Estimate

if TYPE_CHECKING:
    import pandas as pd

_Z = 1.96
_SINGLE = "over filters taken as independent, one training seed"


def frequency_ratios(frequency: pd.DataFrame, network: str, layers: Collection[int]) -> list[Estimate]:
    """Return the mean frequency of layers' filters over that before training, a part each.

    Args:
        frequency: tables of ``frequency_content`` below each other, with ``network``.
        network: which.
        layers: numbers of convolutions, from 1.
    """
    own = frequency[frequency["network"] == network].sort_values("position").reset_index(drop=True)
    found = []
    for number, row in enumerate(own.to_dict("records"), start=1):
        if number in layers:
            start = row["init_frequency"]
            value, reach = row["frequency"] / start, _Z * row["frequency_se"] / start
            note = f"mean frequency {row['frequency']:.3f}, before training {start:.3f} (white filters: 1)"
            part = f"{network}, layer {number}"
            found.append(Estimate(value, value - reach, value + reach, None, part, _SINGLE, note))
    return found


def constant_share(spectrum: pd.DataFrame, network: str, layers: Collection[int]) -> Estimate | None:
    """Return the mean share of the constant mode over layers; None if the network is not there."""
    own = spectrum[(spectrum["network"] == network) & (spectrum["level"] == 0)].sort_values("position")
    own = own.reset_index(drop=True)
    own = own[[number in layers for number in range(1, len(own) + 1)]]
    if own.empty:
        return None
    value = float(own["share"].mean())
    reach = _Z * math.sqrt(float((own["share_se"] ** 2).sum())) / len(own)
    shares = ", ".join(f"{each:.2f}" for each in own["share"])
    return Estimate(value, value - reach, value + reach, None, network, _SINGLE, f"layers: {shares}")


def panels_of(spectrum: pd.DataFrame, words: str) -> list[Panel]:
    """Return the figures of filter spectra of each network.

    Args:
        spectrum: tables of ``filter_spectrum`` below each other, with ``network``.
        words: what the networks were trained on, for the captions.
    """
    found = []
    for network, rows in spectrum.groupby("network", sort=False):
        own = rows.drop(columns=[name for name in ("network", "seed") if name in rows]).assign(model=str(network))
        for panel in spectrum_panels(own):
            found.append(
                Panel(
                    f"{network}-{panel.name}",
                    f"{network}, {words}. {panel.caption}",
                    panel.size,
                    panel.draw,
                    panel.alt,
                )
            )
    return found
