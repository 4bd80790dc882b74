"""Numbers, intervals and names as they stand in a sentence."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from poolscope.report.choose import amplitudes, in_pixels, models, number, varying

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

_NAMES = {
    "trained": "the trained network",
    "given": "the network",
    "initial": "the network at initialisation",
    "shuffled": "the network with shuffled channels",
    "mean_channel": "the network's mean channel",
    "mean_filters": "the network with averaged filters",
    "gaussian_filters": "the network with Gaussian filters",
}


def interval(low: float, high: float) -> str:
    """Return a 95 % interval in words."""
    return f"95 % interval {number(low)} to {number(high)}"


def named(variant: str) -> str:
    """Return what a variant is called in a sentence."""
    return _NAMES.get(variant, variant)


def times(ratio: float, less: str, more: str) -> str:
    """Return "2 times less" for a ratio of 0.5, "2 times more" for one of 2, with the words given."""
    return f"{number(1 / ratio)} times {less}" if ratio < 1 else f"{number(ratio)} times {more}"


def all_of(names: Sequence[str], most: int = 6) -> str:
    """Return names with commas and a last "and"; of many, the first and how many more."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1] if names else ""]))


def tally(notes: Sequence[str]) -> str:
    """Return notes with how often each occurs, the most frequent first."""
    counted = Counter(note or "no reason given" for note in notes)
    return "; ".join(f"{note} ({count})" for note, count in counted.most_common())


def each_case(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of every model and amplitude with words that tell them apart, such as "vgg11, 0.3 px: "."""
    names = models(table)
    for name in names:
        own = table[table["model"] == name] if name else table
        for amplitude in amplitudes(own):
            rows = own
            for column, value in amplitude.items():
                rows = rows[rows[column] == value]
            parts = [name] if len(names) > 1 else []
            at = in_pixels(varying(table, amplitude))
            parts += [f"at {at}"] if at else []
            yield (f"{', '.join(parts)}: " if parts else ""), rows


def begin(lead: str, sentence: str) -> str:
    """Return a sentence after its lead, which starts with a capital letter."""
    text = f"{lead}{sentence}"
    return text if lead and not lead.startswith("at ") else text[:1].upper() + text[1:]


def is_number(value: float) -> bool:
    """Return whether a value is one: neither nan nor infinite."""
    return math.isfinite(value)
