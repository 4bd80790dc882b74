"""Finished simple CNNs, as their folder holds them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from poolscope.networks import load_model
from poolscope.networks.simple import SimpleCNN
from poolscope.sensitivity import read_result
from poolscope.training.simple.experiment import Experiment

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SimpleRuns:
    """Simple CNNs of one experiment.

    Attributes:
        folder: with ``run.json`` and a folder ``seed-S`` each, of ``initial.safetensors``, ``last.safetensors``,
            ``checks.parquet`` and ``outcome.json``.
        experiment: task, network and training.
        outcomes: a row a seed: ``seed``, ``status`` ("finished"; "cut short"; "lost", with errors on training pairs
            again at the end; "not interpolated"; "diverged"), ``reason``,
            ``interpolation`` and ``epochs``, their ratio ``multiple``, ``loss`` (hinge, of the last epoch),
            ``training_error``, ``test_error`` on all pairs that were not learned from, ``balanced_test_error`` (mean of
            the two classes'), ``seconds`` (of the group until it ended).
        checks: ``seed``, ``epoch``, ``loss`` at each check.
    """

    folder: Path
    experiment: Experiment
    outcomes: pd.DataFrame
    checks: pd.DataFrame

    @property
    def finished(self) -> list[int]:
        """Seeds that interpolated and went on to the end, or were cut short; those to be averaged."""
        return [
            int(seed) for seed in self.outcomes.loc[self.outcomes["status"].isin(["finished", "cut short"]), "seed"]
        ]

    def model(self, seed: int, which: str = "last") -> SimpleCNN:
        """Return the network of a seed with its "initial" or "last" weights."""
        model = load_model(str(self.folder / f"seed-{seed}" / f"{which}.safetensors"))
        assert isinstance(model, SimpleCNN)
        return model


def read_simple_runs(folder: str | Path, seeds: Sequence[int] | None = None) -> SimpleRuns:
    """Read the folder of `train_simple`.

    Args:
        folder: what was given as ``out``.
        seeds: which (default: all that have ended).

    Raises:
        FileNotFoundError: no such folder, or a seed that has not ended.
        ValueError: a damaged file.
    """
    import pandas as pd

    folder = Path(folder)
    if not (folder / "run.json").is_file():
        raise FileNotFoundError(f"a folder of simple CNNs must hold run.json; {folder} does not")
    if seeds is None:
        seeds = sorted(int(path.parent.name.removeprefix("seed-")) for path in folder.glob("seed-*/outcome.json"))
    for seed in seeds:
        if not (folder / f"seed-{seed}" / "outcome.json").is_file():
            raise FileNotFoundError(f"seed {seed} must have ended; {folder}/seed-{seed} holds no outcome.json")
    if not seeds:
        raise FileNotFoundError(f"at least one seed must have ended; {folder} holds none")
    experiment = Experiment.model_validate(json.loads((folder / "run.json").read_text())["experiment"])
    outcomes = pd.DataFrame([json.loads((folder / f"seed-{seed}" / "outcome.json").read_text()) for seed in seeds])
    checks = [read_result(folder / f"seed-{seed}" / "checks.parquet").table for seed in seeds]
    return SimpleRuns(folder, experiment, outcomes.drop(columns="environments"), pd.concat(checks, ignore_index=True))
