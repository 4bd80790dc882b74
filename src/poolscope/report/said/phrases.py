"""Numbers, intervals and names as they stand in a sentence, and the cases that one sentence is to cover."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from poolscope.report.choose import amplitudes, in_pixels, main_variant, models, number, records, varying

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

Item = TypeVar("Item")
Key = TypeVar("Key")

#: Of more amplitudes than this, the numbers of the first, the middle and the last stand in a sentence.
MOST = 5

_NAMES = {
    "trained": "the trained network",
    "given": "the network",
    "initial": "the network at initialisation",
    "shuffled": "the network with shuffled channels",
    "mean_channel": "the network's mean channel",
    "mean_filters": "the network with averaged filters",
    "gaussian_filters": "the network with Gaussian filters",
}


@dataclass(frozen=True)
class Case:
    """The rows of a model at one amplitude, and its words, such as "0.3 px"; none where the table has one amplitude."""

    at: str
    rows: pd.DataFrame

    def layers(self) -> list[dict[str, Any]]:
        """Return the rows of the network itself, without its controls, from the input to the output."""
        return records(self.rows[self.rows["variant"] == main_variant(self.rows)])


def each_model(table: pd.DataFrame) -> Iterator[tuple[str, list[Case]]]:
    """Yield for every model the words that a sentence begins with (none if there is one model) and its cases."""
    names = models(table)
    for name in names:
        own = table[table["model"] == name] if name else table
        yield (f"{name}: " if len(names) > 1 else ""), cases(own, table)


def cases(own: pd.DataFrame, table: pd.DataFrame | None = None) -> list[Case]:
    """Return the rows of every amplitude, in rising order.

    Args:
        own: the rows.
        table: those from which the words of a case tell it apart (default: the same).
    """
    found = []
    for amplitude in amplitudes(own):
        rows = own
        for column, value in amplitude.items():
            rows = rows[rows[column].isna() if value != value else rows[column] == value]
        words = in_pixels(varying(own if table is None else table, amplitude))
        found.append(Case(words.replace(", cutoff", " with cutoff"), rows))
    return found


def at_all(labels: Sequence[str]) -> str:
    """Return " at 0.3, 1 and 1.5 px" for the words of several cases, nothing for a case without words."""
    if not any(labels):
        return ""
    if all(label.endswith(" px") for label in labels):
        return f" at {all_of([label.removesuffix(' px') for label in labels])} px"
    return f" at {all_of(labels)}"


def grouped(items: Sequence[tuple[Key, Item]]) -> dict[Key, list[Item]]:
    """Return items by their key, in the order in which keys first occur."""
    found: dict[Key, list[Item]] = {}
    for key, item in items:
        found.setdefault(key, []).append(item)
    return found


def thinned(items: Sequence[Item]) -> list[Item]:
    """Return the items whose numbers a sentence has room for: all, or of many the first, the middle and the last."""
    return list(items) if len(items) <= MOST else [items[0], middle(items), items[-1]]


def middle(items: Sequence[Item]) -> Item:
    """Return the middle item, of an even number the later one."""
    return items[len(items) // 2]


def interval(low: float, high: float) -> str:
    """Return a 95 % interval in words."""
    return f"95 % interval {number(low)} to {number(high)}"


def with_intervals(numbers: Sequence[tuple[str, float, float, float]]) -> str:
    """Return "0.5 (95 % interval 0.4 to 0.6) at 0.3 px and 0.7 (0.6 to 0.8) at 1 px".

    Args:
        numbers: of each case, its words, the estimate, and the ends of its 95 % interval.
    """
    found: list[str] = []
    for at, value, low, high in thinned(numbers):
        spread = interval(low, high) if not found else f"{number(low)} to {number(high)}"
        found.append(f"{number(value)} ({spread}){at_all([at])}")
    return all_of(found)


def named(variant: str) -> str:
    """Return what a variant is called in a sentence."""
    return _NAMES.get(variant, variant)


def place(layer: str) -> str:
    """Return what a layer is called in a sentence."""
    return f"the {layer}" if layer in ("input", "output") else layer


def all_of(names: Sequence[str], most: int = 6) -> str:
    """Return names with commas and a last "and"; of many, the first and how many more."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1] if names else ""]))


def tally(notes: Sequence[str]) -> str:
    """Return notes with how often each occurs, the most frequent first."""
    counted = Counter(note or "no reason given" for note in notes)
    return "; ".join(f"{note} ({count})" for note, count in counted.most_common())


def reasons(rows: Sequence[dict[str, Any]]) -> str:
    """Return why rows have no number, each reason once."""
    return "; ".join(dict.fromkeys(row.get("note") or "it has no interval" for row in rows))


def begin(lead: str, sentence: str) -> str:
    """Return a sentence after its lead; without one, it starts with a capital letter."""
    return f"{lead}{sentence}" if lead else sentence[:1].upper() + sentence[1:]


def is_number(*values: float) -> bool:
    """Return whether all values are numbers: neither nan nor infinite."""
    return all(math.isfinite(value) for value in values)
