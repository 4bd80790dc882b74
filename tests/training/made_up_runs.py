"""Runs as their folders would hold them, with numbers of one's own and no training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from poolscope.training import Run, load_recipe
from poolscope.training.configuration import Configuration, DataChoice


def made_run(
    seed: int,
    *,
    test_error: float = 0.1,
    status: str = "finished",
    reason: str = "all 2 epochs",
    validation: Any = 50,
    sensitivity: pd.DataFrame | None = None,
    epochs: int = 2,
) -> Run:
    """A run of two epochs whose best is the last; validation errors are a hundredth above the test's, or the same."""
    more = 0.0 if validation == "test" else 0.01
    errors = [0.9, *(test_error + (epochs - epoch) / 10 for epoch in range(1, epochs + 1))]
    curve = pd.DataFrame(
        {
            "epoch": range(epochs + 1), "seed": seed, "lr": [math.nan, *[0.1] * epochs],
            "loss": [math.nan, *[1.0 + seed] * epochs], "error": [math.nan, *(each / 2 for each in errors[1:])],
            "validation_loss": [(1 + more) * error for error in errors],
            "validation_error": [error + more for error in errors],
            "test_loss": errors, "test_error": errors,
        }
    )  # fmt: skip
    outcome = {
        "status": status, "reason": reason, "epochs": epochs, "best_epoch": epochs,
        "selected_by": "test" if validation == "test" else "validation",
        "best_validation_error": test_error + more, "best_test_error": test_error,
        "last_validation_error": test_error + more, "last_test_error": test_error,
        "training_loss": 1.0, "training_error": test_error / 2, "parameters": 7, "seconds": 1.5,
    }  # fmt: skip
    configuration = Configuration(
        model="net", options={}, data=DataChoice(spec="digits", validation=validation),
        recipe=load_recipe("digits").changed(epochs=2, warmup_epochs=0.5), seed=seed, threads=1,
    )  # fmt: skip
    return Run(Path(f"seed-{seed}"), configuration, outcome, curve, sensitivity)


def measured(seed: int, R: dict[int, float], *, displacement: float = 1.0, error: float = 0.1) -> pd.DataFrame:
    """Rows of input and output at these epochs, as a run leaves them: R of the output, D = R / 5, G = 1 / 5."""
    rows = []
    for epoch, value in R.items():
        for position, (layer, own) in enumerate((("input", 1.0), ("output", value))):
            rows.append(
                {
                    "epoch": epoch, "seed": seed, "displacement": displacement, "cutoff": 3, "layer": layer,
                    "kind": layer, "position": position, "depth": float(position), "D": own / 5,
                    "D_se": error * own / 5, "G": 0.2, "G_se": error * 0.2, "R": own, "R_se": error * own,
                    "R_low": own * math.exp(-2 * error), "R_high": own * math.exp(2 * error), "note": "",
                }
            )  # fmt: skip
    return pd.DataFrame(rows)
