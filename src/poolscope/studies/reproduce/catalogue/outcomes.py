"""How the trainings that a study looks at ended; dead ones are left out, and said to be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from poolscope.studies.reproduce.catalogue.reading import below_each_other
from poolscope.training.finished import read_run

if TYPE_CHECKING:
    import pandas as pd

_FILE = "outcome.json"
#: Behind the name of a training on scale detection.
ON_TASK = "-task"


def without_dead(found: Mapping[str, Path]) -> dict[str, Path]:
    """Return the runs without trainings that died, and without what was measured of them.

    Args:
        found: folders by name; what is measured of ``NAME`` begins with ``NAME-``.
    """
    trainings = {name: folder for name, folder in found.items() if (folder / _FILE).is_file()}
    measured = {name: folder for name, folder in found.items() if name not in trainings}
    left = {name: folder for name, folder in trainings.items() if read_run(folder).finished}
    for name, folder in measured.items():
        # the longest name is its training's: "vgg11/0-task-measured" is not of "vgg11/0"
        parents = [each for each in trainings if name.startswith(f"{each}-")]
        if not parents or max(parents, key=len) in left:
            left[name] = folder
    return left


def outcomes(found: Mapping[str, Path]) -> pd.DataFrame:
    """Return one row a training, dead ones too.

    Columns ``network``, ``seed``, ``learned`` ("images" or "scale detection"), ``width``, ``status``, ``reason``,
    ``epochs``, ``error`` on test images at the epoch that was chosen, whose weights are measured.

    Args:
        found: folders by name, ``NETWORK/SEED`` or, on scale detection, ``NETWORK/SEED-task``.
    """
    import pandas as pd

    rows = []
    for name, folder in found.items():
        if (folder / _FILE).is_file():
            run = read_run(folder)
            rows.append(
                {
                    "network": name.partition("/")[0],
                    "seed": run.configuration.seed,
                    "learned": "scale detection" if name.endswith(ON_TASK) else "images",
                    "width": float(run.configuration.options.get("width", 1.0)),
                    **{key: run.outcome[key] for key in ("status", "reason", "epochs")},
                    "error": run.outcome["best_test_error"],
                }
            )
    columns = ["network", "seed", "learned", "width", "status", "reason", "epochs", "error"]
    return pd.DataFrame(rows, columns=columns)


def outcome_words(table: pd.DataFrame) -> list[str]:
    """Return sentences: the errors of the networks that are shown, and which were left out."""
    said = []
    for learned, rows in table.groupby("learned", sort=False):
        alive, dead = (rows[(rows["status"] == "finished") == good] for good in (True, False))
        parts = []
        for (network, width), own in alive.groupby(["network", "width"], sort=False):
            narrow = "" if width == 1 else f" of {width:g} times the published width"
            errors = ", ".join(f"{each:.1%}" for each in own["error"])
            parts.append(f"{network}{narrow} {errors}")
        if parts:
            said.append(f"Test errors on {learned}: {'; '.join(parts)}.")
        if len(dead):
            names = ", ".join(f"{row['network']} (seed {row['seed']})" for row in dead.to_dict("records"))
            said.append(f"Left out, for training on {learned} ended at chance: {names}.")
    return said


def by_seed(found: Mapping[str, Path], ending: str, names: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    """Return tables of measurements of trainings that are alive, below each other, with ``network`` and ``seed``.

    Args:
        found: folders by name, ``NETWORK/SEED`` and an ending.
        ending: of the measurements, such as "-pooled".
        names: of the tables.
    """
    tables = below_each_other(without_dead(found), ending, names)
    for table in tables.values():
        parts = table["network"].str.split("/")
        table["network"] = parts.str[0]
        table.insert(1, "seed", parts.str[1].astype(int))
    return tables
