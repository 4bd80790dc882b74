"""Runs of several seeds as one: means with intervals over seeds; dead runs are told of and left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from poolscope.training.finished import Run

if TYPE_CHECKING:
    import pandas as pd

_OUTCOME = (
    "status", "reason", "epochs", "best_epoch", "selected_by", "best_validation_error", "best_test_error",
    "last_validation_error", "last_test_error", "training_loss", "training_error", "parameters", "seconds",
)  # fmt: skip
_KEYS = ("epoch", "displacement", "cutoff", "layer", "kind", "position", "depth")


def outcomes(runs: Sequence[Run]) -> pd.DataFrame:
    """Return one row a run: ``model``, ``seed`` and how it ended.

    The test error to report is ``best_test_error``, of the epoch that the validation images chose; where the test
    images chose it (``selected_by``), it is a minimum over epochs, and too small.
    """
    import pandas as pd

    rows = [
        {
            "model": run.configuration.model,
            "seed": run.configuration.seed,
            **{key: run.outcome[key] for key in _OUTCOME},
        }
        for run in runs
    ]
    return pd.DataFrame(rows)


def average_over_seeds(table: pd.DataFrame, keys: Sequence[str] = _KEYS) -> pd.DataFrame:
    """Average D, G and R over the seeds of one network, at each epoch, amplitude and layer.

    Args:
        table: rows of `Run.sensitivity` of one or more runs that finished.
        keys: columns that tell rows of one seed apart (default: those of `Run.sensitivity`).

    Returns:
        One row an epoch, amplitude and layer: ``seeds``, ``D``, ``D_low``, ``D_high``, and the same of G and R. With
        several seeds geometric means and the 95 % interval of Student's t on the logarithm, over seeds; with one, its
        own values and intervals over images (``interval`` says which). Where a seed has no number, there is none.
    """
    import numpy as np
    import pandas as pd
    from scipy.stats import t

    rows = []
    for key, group in table.groupby(list(keys), sort=False, dropna=False):
        number = len(group)
        row: dict[str, Any] = dict(zip(keys, key, strict=True)) | {"seeds": number}
        for quantity in "DGR":
            if number == 1:
                only = group.iloc[0]
                reach = 1.96 * only.get(f"{quantity}_se", np.nan)
                low, high = max(0.0, only[quantity] - reach), only[quantity] + reach
                if quantity == "R":
                    low, high = only["R_low"], only["R_high"]
                row |= {quantity: only[quantity], f"{quantity}_low": low, f"{quantity}_high": high}
                continue
            logs = np.log(group[quantity].where(group[quantity] > 0).to_numpy(dtype=float))
            reach = t.ppf(0.975, number - 1) * logs.std(ddof=1) / number**0.5
            middle = logs.mean()
            row |= {
                quantity: np.exp(middle),
                f"{quantity}_low": np.exp(middle - reach),
                f"{quantity}_high": np.exp(middle + reach),
            }
        row["interval"] = "over images" if number == 1 else "over seeds"
        rows.append(row)
    return pd.DataFrame(rows)
