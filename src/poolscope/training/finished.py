"""A finished run, as its folder holds it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from poolscope.networks import load_model
from poolscope.sensitivity import read_result
from poolscope.training.configuration import Configuration

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """A finished run, as its folder holds it.

    Attributes:
        folder: of the run, with ``initial.safetensors``, ``best.safetensors`` and ``last.safetensors``.
        configuration: what determined it.
        outcome: ``status`` ("finished" or "dead"), ``reason``, ``epochs`` done, ``best_epoch``, its errors, the last
            epoch's, seconds, versions.
        curve: one row an epoch, from 0, the initial network: ``epoch``, ``lr`` of its first step, ``loss`` and
            ``error`` in training mode, while the weights change, ``validation_loss``, ``validation_error``,
            ``test_loss``, ``test_error`` at its end.
        sensitivity: the rows of ``measure`` at the epochs asked for, ``epoch`` and ``seed`` in front; ``None`` if none
            were.
    """

    folder: Path
    configuration: Configuration
    outcome: dict[str, Any]
    curve: pd.DataFrame
    sensitivity: pd.DataFrame | None

    @property
    def finished(self) -> bool:
        """Whether it ended as it should; dead runs are not to be averaged with others."""
        return bool(self.outcome["status"] == "finished")

    def model(self, which: str = "best", *, trust_code: bool = False) -> nn.Module:
        """Return the network with its "initial", "best" (by validation) or "last" weights.

        Args:
            which: of the three; a dead run has no last ones.
            trust_code: as for ``load_model``, for networks of your own.
        """
        return load_model(str(self.folder / f"{which}.safetensors"), trust_code=trust_code)


def read_run(folder: str | Path) -> Run:
    """Read a finished run's folder.

    Raises:
        FileNotFoundError: no such folder, or none of a finished run.
        ValueError: a damaged file.
    """
    folder = Path(folder)
    for name in ("run.json", "outcome.json", "curve.parquet"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"a finished run's folder must hold {name}; {folder} does not")
    configuration = Configuration.model_validate_json((folder / "run.json").read_text())
    outcome = json.loads((folder / "outcome.json").read_text())
    measured = folder / "sensitivity.parquet"
    table = read_result(measured).table if measured.is_file() else None
    return Run(folder, configuration, outcome, read_result(folder / "curve.parquet").table, table)
