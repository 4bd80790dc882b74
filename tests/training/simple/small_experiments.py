"""Experiments so small that networks interpolate in tenths of a second, and how tests run them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from poolscope._sealed import read_sealed
from poolscope.training.simple.experiment import Experiment
from poolscope.training.simple.finished import SimpleRuns
from poolscope.training.simple.run import train_simple

# Seeds 0, 1 and 2 interpolate between 20 and 60 epochs, seed 3 after 100; none of them finds out about patches.
SMALL: dict[str, Any] = {
    "task": "scale-detection:task=2,length=16,scale=4,train=10", "depth": 3, "channels": 8, "filter_size": 2,
    "stride": 2, "lr": 0.1, "ridge": 0.02, "batch_size": 4, "multiple": 1.6, "check_every": 3, "give_up": 75,
    "most_epochs": 2000,
}  # fmt: skip


def small(**changes: Any) -> Experiment:
    return Experiment(**{**SMALL, **changes})


def trained(
    experiment: Experiment, folder: Path, seeds: Sequence[int] = (0, 1), said: list[str] | None = None, **options: Any
) -> SimpleRuns:
    """Train on one thread, and listen to what is said."""
    listen = ([] if said is None else said).append
    return train_simple(experiment, folder, seeds=seeds, **{"say": listen, "progress": False, "threads": 1, **options})


def weights(runs: SimpleRuns, seed: int, which: str = "last") -> dict[str, torch.Tensor]:
    return read_sealed(runs.folder / f"seed-{seed}" / f"{which}.safetensors")[0]


def same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value.reshape(-1).view(torch.uint8), other[name].reshape(-1).view(torch.uint8))
        for name, value in one.items()
    )


def same(found: SimpleRuns, expected: SimpleRuns) -> None:
    """Compare all that runs leave behind, but for the time they took."""
    assert found.outcomes["seed"].tolist() == expected.outcomes["seed"].tolist()
    for seed in found.outcomes["seed"]:
        for path in sorted((expected.folder / f"seed-{seed}").glob("*.safetensors")):
            (one, facts), (other, wanted) = (
                read_sealed(runs.folder / f"seed-{seed}" / path.name) for runs in (found, expected)
            )
            assert facts == wanted
            assert same_bits(one, other), f"seed {seed}, {path.name}"
    assert found.checks.equals(expected.checks)
    assert found.outcomes.drop(columns="seconds").equals(expected.outcomes.drop(columns="seconds"))
    assert sorted(str(path.relative_to(found.folder)) for path in found.folder.rglob("*")) == sorted(
        str(path.relative_to(expected.folder)) for path in expected.folder.rglob("*")
    ), "something is left over, or missing"
