"""Several networks trained on the same images: their test error against D, G and R of the output (figure C1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolscope.report import Panel, Section, Table, plot_architectures, save_panels, write_page
from poolscope.sensitivity import Result
from poolscope.studies.points import FEWEST, RESAMPLES, bootstrap, logarithms, pearson
from poolscope.training import Run

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Architectures:
    """Networks side by side.

    Attributes:
        networks: one row a network, seed and displacement: ``error`` on test images at the chosen epoch, and ``D``,
            ``G``, ``R`` of the output at the last measured epoch.
        correlations: one row a displacement and quantity: ``correlation`` of log error with log D, G or R over networks
            (means over seeds of the logarithms), ``low`` and ``high``, 95 % percentiles over ``resamples`` bootstraps
            of networks, ``networks``.
    """

    networks: pd.DataFrame
    correlations: pd.DataFrame

    def summary(self) -> list[tuple[str, list[str]]]:
        """Say in plain words what came out."""
        said = []
        for row in self.correlations.to_dict("records"):
            if math.isnan(row["correlation"]):
                continue
            said.append(
                f"At {row['displacement']:.3g} px log {row['quantity']} of the output and the log error of "
                f"{row['networks']} networks have the correlation {row['correlation']:.2f} (95 % interval "
                f"{row['low']:.2f} to {row['high']:.2f}, bootstrap of networks)."
            )
        few = f"fewer than {FEWEST} networks with an error above 0 allow no correlation."
        return [("Error against D, G and R", said or [few.capitalize()])]

    def save(self, folder: Path, record: dict[str, Any]) -> list[Path]:
        """Write tables (Parquet), figures (PNG and PDF) and ``report.html``; return their paths."""
        tables = {"networks": self.networks, "correlations": self.correlations}
        paths = [Result(table, record).save(folder / f"{name}.parquet") for name, table in tables.items()]
        panels = [
            Panel(
                f"error-{quantity}-{displacement:.3g}px",
                f"Test error against {quantity} of the output, {displacement:.3g} px; small: seeds, large: their mean.",
                (4.6, 4.2),
                lambda ax, rows=rows, quantity=quantity: plot_architectures(rows, quantity, ax=ax),  # type: ignore[misc]
            )
            for displacement, rows in self.networks.groupby("displacement")
            for quantity in "DGR"
        ]
        paths += save_panels(panels, folder)
        page = write_page(
            folder / "report.html",
            "Error against sensitivity",
            subtitle=", ".join(dict.fromkeys(self.networks["model"])),
            summary=self.summary(),
            sections=[
                Section("Figures", panels=panels),
                Section("The numbers", tables=[Table(name, table) for name, table in tables.items()]),
            ],
            record=record,
        )
        return [*paths, page]


def gather(runs: Mapping[str, list[Run]]) -> Architectures:
    """Put finished runs of several networks into one table; dead ones are left out.

    Args:
        runs: by the network's name; each with D, G and R of its output.

    Raises:
        ValueError: no run that finished and was measured.
    """
    import pandas as pd

    rows = []
    for name, each in runs.items():
        for run in each:
            if run.finished and run.sensitivity is not None:
                rows += [{"model": name, **row} for row in at_output(run)]
    if not rows:
        raise ValueError(f"at least one run must have finished and been measured; got none of {', '.join(runs)}")
    networks = pd.DataFrame(rows)
    return Architectures(networks, correlations(networks))


def at_output(run: Run, epoch: int | None = None) -> list[dict[str, Any]]:
    """Return D, G and R of a measured run's output, one row a displacement, beside its error.

    Args:
        run: with its sensitivity.
        epoch: at which it was measured (default: the last).
    """
    assert run.sensitivity is not None
    table = run.sensitivity[run.sensitivity["layer"] == "output"]
    return [
        {
            "seed": run.configuration.seed,
            "displacement": row["displacement"],
            "cutoff": row["cutoff"],
            "error": run.outcome["best_test_error"],
            "epoch": row["epoch"],
            **{key: row[key] for key in ("D", "G", "R", "D_se", "G_se", "R_se", "note")},
        }
        for row in table[table["epoch"] == (table["epoch"].max() if epoch is None else epoch)].to_dict("records")
    ]


def correlations(networks: pd.DataFrame) -> pd.DataFrame:
    """Return Pearson's correlation of log error with log D, G and R over networks, with bootstrap intervals.

    The unit is the network, its logarithms averaged over seeds; a network with an error or a sensitivity of 0 has none.
    """
    import numpy as np
    import pandas as pd

    rows = []
    random = np.random.default_rng(0)
    for displacement, part in networks.groupby("displacement"):
        for quantity in "DGR":
            points = logarithms(part, ["error", quantity]).to_numpy()
            value, low, high = bootstrap(points, lambda each: pearson(each[..., 0], each[..., 1]), random)
            rows.append(
                {
                    "displacement": displacement,
                    "quantity": quantity,
                    "correlation": value,
                    "low": low,
                    "high": high,
                    "networks": len(points),
                    "resamples": RESAMPLES,
                }
            )
    return pd.DataFrame(rows)
