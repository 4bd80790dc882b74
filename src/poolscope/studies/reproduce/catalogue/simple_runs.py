"""Runs and tables of simple CNNs, which several studies share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from poolscope.studies.reproduce.catalogue.networks import SimpleNetworks, simple_networks
from poolscope.studies.reproduce.catalogue.reading import read_tables
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import Sources, Tables

if TYPE_CHECKING:
    import pandas as pd

Which = Literal["task1", "task2", "tanh", "twice", "swish"]

#: What networks are called in pictures of activations.
ACTIVATIONS: dict[Which, str] = {"task1": "ReLU", "tanh": "tanh", "swish": "swish (β = 1)"}
_ENDED = ("finished", "cut short")
_NAMES = {
    "task1": "ReLU on task 1",
    "task2": "ReLU on task 2",
    "tanh": "tanh on task 1",
    "twice": "ReLU of twice the channels on task 1",
    "swish": "swish on task 1",
}


def runs_of(settings: SimpleNetworks, sources: Sources, which: Sequence[Which]) -> dict[str, Job]:
    """Return the jobs that train and measure simple CNNs, those of no seeds left out: ``WHICH``, ``WHICH-measured``."""
    seeds: dict[Which, int] = {"twice": settings.twice, "swish": settings.swish_seeds}
    found: dict[str, Job] = {}
    for each in which:
        if seeds.get(each, 1):
            found[each], found[f"{each}-measured"] = simple_networks(settings, sources, each)
    return found


def tables_of(found: Mapping[str, Path], which: Sequence[Which], names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return tables of measured simple CNNs as ``WHICH_NAME``, with how their training ended, ``WHICH_outcomes``."""
    return {
        f"{each}_{name}": table
        for each in which
        if f"{each}-measured" in found
        for name, table in read_tables(found[f"{each}-measured"], ["outcomes", *names]).items()
    }


def side_by_side(tables: Tables, name: str, which: Sequence[Which]) -> pd.DataFrame | None:
    """Return the tables ``WHICH_NAME`` below each other, ``model`` the activation; None if there is none."""
    import pandas as pd

    found = [tables[f"{each}_{name}"].assign(model=ACTIVATIONS[each]) for each in which if f"{each}_{name}" in tables]
    return pd.concat(found, ignore_index=True) if found else None


def seeds_in(table: pd.DataFrame, column: str = "seeds") -> str:
    """Return how many seeds each model of a table has, in words: "4 seeds", or "ReLU 4 seeds, tanh 3".

    Args:
        table: with ``model``.
        column: number of seeds, or "seed" where each seed has rows of its own.
    """
    grouped = table.groupby("model", sort=False)[column]
    counts = (grouped.nunique() if column == "seed" else grouped.max()).astype(int)
    if counts.nunique() == 1:
        number = int(counts.iloc[0])
        return f"{number} seed{'s' if number > 1 else ''} each" if len(counts) > 1 else _seeds(number)
    first, *others = counts.items()
    return ", ".join([f"{first[0]} {_seeds(int(first[1]))}", *(f"{name} {number}" for name, number in others)])


def how_training_ended(tables: Tables, which: Sequence[Which]) -> list[str]:
    """Say of each kind of network how its training ended; seeds that did not interpolate are named."""
    said = []
    for each in which:
        if f"{each}_outcomes" not in tables:
            continue
        outcomes = tables[f"{each}_outcomes"]
        ended = outcomes[outcomes["status"].isin(_ENDED)]
        if len(ended):
            first, last = int(ended["interpolation"].min()), int(ended["interpolation"].max())
            after = f"{first}" if first == last else f"{first} to {last}"
            worst = float(ended["test_error"].max())
            errors = "no errors" if worst == 0 else f"errors up to {100 * worst:.1f} %"
            said.append(
                f"{_NAMES[each]}: {_seeds(len(ended))} fit the training pairs after {after} epochs; {errors} on pairs "
                "that were not learned from."
            )
        for row in outcomes[~outcomes.index.isin(ended.index)].to_dict("records"):
            said.append(f"{_NAMES[each]}: seed {row['seed']} is left out: {row['status']}, {row['reason']}.")
    return said


def unmeasured(tables: Tables, needs: Mapping[str, Sequence[Which]]) -> dict[str, list[Estimate]]:
    """Return, for the claims that no network can decide, an estimate without a number that says why.

    Args:
        tables: of `tables_of`.
        needs: the kinds of networks that each claim is about.
    """
    found = {}
    for claim, kinds in needs.items():
        for each in kinds:
            outcomes = tables.get(f"{each}_outcomes")
            if outcomes is not None and not outcomes["status"].isin(_ENDED).any():
                note = f"no network of {_NAMES[each]} fit its training pairs: {outcomes['reason'].iloc[0]}"
                found[claim] = [Estimate(math.nan, math.nan, math.nan, interval="", note=note)]
    return found


def _seeds(number: int) -> str:
    return f"{number} seed{'s' if number != 1 else ''}"
