"""Table C1: the numbers of parameters of the networks, beside the printed ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolscope.networks import table_c1
from poolscope.report import Panel, house_style
from poolscope.report.choose import records
from poolscope.report.style import colours, own_axes
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import SCALES, Settings, Sources, Study, Tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_UNITS = {"k": 1e3, "M": 1e6, "": 1e6}  # EfficientNetB0's 5 has no unit: thousands would not make a network of it
_SAME = (0.9, 1.1)


class TableC1(Settings):
    """Nothing to choose: the networks are those of the table."""


def published(printed: str) -> tuple[float, float]:
    """Return the least and the largest number that is printed: "9–20 M" is 9 and 20 million, "62k" twice 62,000.

    Raises:
        ValueError: not a number, or two with a dash between them, and k, M or nothing behind.
    """
    unit = printed[-1:] if printed[-1:] in ("k", "M") else ""
    ends = printed.removesuffix(unit).strip().split("–")
    try:
        numbers = [float(end) * _UNITS[unit] for end in ends]
    except ValueError:
        raise ValueError(
            f"a printed number must be one number or two with a dash, then k, M or nothing; got {printed!r}"
        ) from None
    return numbers[0], numbers[-1]


def beside_printed(table: pd.DataFrame) -> pd.DataFrame:
    """Return `table_c1` with the number each network is compared with, and the ratio.

    Of a range the low end is for the shallowest networks of that range, the high end for the deepest. The others are
    printed no number, and have nan: whether they lie inside the range is said in ``compared_with``.

    Args:
        table: of `table_c1`.

    Returns:
        The table with ``published``, ``ratio`` (parameters over that) and ``compared_with``.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for printed, group in table.groupby("parameters_printed", sort=False):
        low, high = published(str(printed))
        for row in records(group):
            number, words = float("nan"), f"the range {printed}"
            if low == high:
                number, words = low, str(printed)
            elif row["depth"] == group["depth"].min():
                number, words = low, f"the low end of {printed}"
            elif row["depth"] == group["depth"].max():
                number, words = high, f"the high end of {printed}"
            else:
                words = f"{'inside' if low <= row['parameters'] <= high else 'outside'} {words}"
            rows.append({**row, "published": number, "ratio": row["parameters"] / number, "compared_with": words})
    return pd.DataFrame(rows)


def _runs(settings: TableC1, sources: Sources) -> dict[str, Job]:
    return {}


def _tables(settings: TableC1, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    return {"networks": beside_printed(table_c1())}


def _panels(tables: Tables) -> list[Panel]:
    rows = tables["networks"].dropna(subset="ratio")
    caption = (
        "Parameters of the networks here (10 classes, 3 channels, 32x32 pixels) over the number that table C1 prints, "
        "or the end of the range it prints; the grey band is what counts as the same. EfficientNetB0 at this size has "
        "3.6 million parameters: the printed 5 is that of its version for ImageNet."
    )
    return [Panel("parameters", caption, (5.2, 0.9 + 0.27 * len(rows)), lambda ax: plot_ratios(rows, ax=ax))]


def plot_ratios(rows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw each network's parameters over the published number, one line a network.

    Args:
        rows: of `beside_printed`, those with a ratio.
        ax: where to draw (default: a new figure).
    """
    with house_style():
        ax = own_axes(ax)
        ax.axvspan(*_SAME, color="0.5", alpha=0.18, linewidth=0)
        ax.axvline(1, color="0.5", linewidth=1)
        at = list(range(len(rows)))
        ax.plot(rows["ratio"], at, "o", color=colours()[0], markersize=6)
        for height, ratio, parameters in zip(at, rows["ratio"], rows["parameters"], strict=True):
            ax.annotate(
                f"{parameters:,}", (ratio, height), (8, 0), textcoords="offset points", va="center", fontsize=8.5
            )
        ax.set_yticks(at, [name.rpartition(":")[2] for name in rows["name"]])
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_xlim(min(0.65, rows["ratio"].min() - 0.05), max(1.3, rows["ratio"].max() + 0.2))
        ax.grid(False, axis="y")
        ax.set_xlabel("1: as printed")
        ax.set_title("Parameters over the published number", loc="left")
    return ax


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    rows = tables["networks"].dropna(subset="ratio")
    return {
        "parameters": [
            Estimate.exact(
                row["ratio"],
                part=row["name"].rpartition(":")[2],
                note="; ".join(filter(None, (f"{row['parameters']:,} beside {row['compared_with']}", row["note"]))),
            )
            for row in rows.to_dict("records")
        ]
    }


def _words(tables: Tables) -> list[str]:
    middle = tables["networks"][tables["networks"]["ratio"].isna()]
    places = ", ".join(
        f"{row['name'].rpartition(':')[2]} ({row['compared_with']})" for row in middle.to_dict("records")
    )
    return [
        "Where the table prints a range, the shallowest networks are compared with its low end and the deepest with "
        f"its high end; the others have no number of their own: {places}."
    ]


STUDY = Study(
    name="tableC1",
    title="The networks and their numbers of parameters",
    source="Table C1",
    shows="The networks are those of the paper, layer by layer; a count of their parameters shows it.",
    scales=dict.fromkeys(SCALES, TableC1()),
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
    words=_words,
)
