"""What bf16-mixed training does to error, D, G, R and filter spectra: the same seeds trained in both precisions.

    python benchmarks/precision.py [--data digits] [--recipe digits] [--epochs 8] [--seeds 4] [--out precision-runs]

Runs share initial weights, order and augmentation, so that differences are paired over seeds: means of bf16-mixed less
float32 with 95 % intervals of Student's t. Measured in float32 in both cases. Interrupted, it goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t

import poolscope as ps
from poolscope.training import Run, load_recipe, prepare_data
from poolscope.training.launch import configure
from poolscope.training.run import train_run


def figures(run: Run) -> dict[str, float]:
    """What is compared of a run."""
    found = {
        "test error of the last epoch": run.outcome["last_test_error"],
        "training loss": run.curve["loss"].iloc[-1],
    }
    last = run.sensitivity[run.sensitivity["epoch"] == run.outcome["epochs"]]
    for displacement, rows in last[last["layer"] == "output"].groupby("displacement"):
        for quantity in "DGR":
            found[f"log {quantity} of the output, {displacement:g} px"] = float(np.log(rows[quantity].iloc[0]))
    content = ps.frequency_content(ps.filter_spectrum(run.model("last")))
    found["mean frequency of the filters, all layers"] = float(content["frequency"].mean())
    constant = ps.filter_spectrum(run.model("last"))
    found["share of the constant level, all layers"] = float(constant[constant["level"] == 0]["share"].mean())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="poolscope:minivgg")
    parser.add_argument("--width", type=float, default=0.15)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--recipe", default="digits")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("precision-runs"))
    arguments = parser.parse_args()
    data = prepare_data(arguments.data)
    rows: dict[str, list[dict[str, float]]] = {}
    for precision in ("float32", "bf16-mixed"):
        recipe = load_recipe(arguments.recipe).changed(
            epochs=arguments.epochs,
            warmup_epochs=arguments.epochs / 10,
            precision=precision,
            memory_format="channels_last",
        )
        for seed in range(arguments.seeds):
            configuration = configure(
                arguments.model,
                data,
                recipe,
                seed=seed,
                measure_at=("last",),
                measure={"displacement": (0.5, 1.0), "images": 300},
                options={"width": arguments.width},
                threads=arguments.threads,
            )
            run = train_run(configuration, data, arguments.out / precision / f"seed-{seed}")
            rows.setdefault(precision, []).append(figures(run))
    plain, mixed = pd.DataFrame(rows["float32"]), pd.DataFrame(rows["bf16-mixed"])
    difference = mixed - plain
    reach = t.ppf(0.975, arguments.seeds - 1) * difference.std(ddof=1) / arguments.seeds**0.5
    table = pd.DataFrame(
        {
            "float32": plain.mean(),
            "bf16-mixed": mixed.mean(),
            "spread over seeds (float32)": plain.std(ddof=1),
            "difference": difference.mean(),
            "low": difference.mean() - reach,
            "high": difference.mean() + reach,
        }
    )
    print(table.to_string(float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
