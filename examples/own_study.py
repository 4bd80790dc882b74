"""A study of your own: runs, tables, a picture and a claim, by the same runner and pages as the paper's.

Does learning from shifted copies of the images make a network less sensitive to deformations?

    python examples/own_study.py                          # about a minute on two cores
    python examples/own_study.py --scale smoke            # only to see that all works
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.stats import t

from poolscope.report import Panel
from poolscope.report.scale import read_as_numbers
from poolscope.studies.reproduce.claim import AMPLITUDES, Claim, Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.pages import write_site
from poolscope.studies.reproduce.run import Part, reproduce, save_part
from poolscope.studies.reproduce.store import Store
from poolscope.studies.reproduce.study import SCALES, Settings, Sources, Study, Tables
from poolscope.studies.reproduce.work.training import training
from poolscope.training import read_run

KINDS = {"plain": 0, "shifted": 2}  # pixels by which images are shifted while learning, at most


class Shifts(Settings):
    """What a scale sets, and what may be changed; types and limits are checked."""

    seeds: int = Field(ge=2)
    width: float = Field(gt=0)
    epochs: int = Field(ge=1)
    train_images: int | None = None
    measured: int = Field(ge=2)


def runs(settings: Shifts, sources: Sources) -> dict[str, Job]:
    """Return the jobs by name. Each is known by the hash of its settings: what is done is never done again."""
    return {
        f"{kind}-{seed}": training(
            "poolscope:minivgg",
            sources,
            recipe="digits",
            changes={"epochs": settings.epochs, "warmup_epochs": settings.epochs / 10, "crop_padding": padding},
            seed=seed,
            options={"width": settings.width},
            train_images=settings.train_images,
            measure_at=["last"],
            measure={"images": settings.measured, "displacement": list(AMPLITUDES), "layers": ["output"]},
        )
        for kind, padding in KINDS.items()
        for seed in range(settings.seeds)
    }


def tables(settings: Shifts, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    """Return tables by name, of the folders of those jobs that were done."""
    rows: list[dict[str, Any]] = []
    for name, folder in found.items():
        kind, seed = name.split("-")
        run = read_run(folder)
        assert run.sensitivity is not None
        for row in run.sensitivity[run.sensitivity["kind"] == "output"].to_dict("records"):
            numbers = {key: row[key] for key in ("displacement", "D", "G", "R")}
            error = run.outcome["best_test_error"]
            rows.append({"training": kind, "seed": int(seed), **numbers, "test_error": error})
    return {"measurement": pd.DataFrame(rows)} if rows else {}


def panels(tables: Tables) -> list[Panel]:
    """Return the pictures; each is drawn on axes that it is given, for light and dark pages."""
    if "measurement" not in tables:
        return []
    caption = "D of the output against the displacement; a line is the geometric mean over seeds, points are the seeds."
    return [Panel("sensitivity", caption, (5.2, 3.8), lambda ax: draw(tables["measurement"], ax))]


def draw(table: pd.DataFrame, ax: Any) -> None:
    """Draw D of all networks against the displacement."""
    for number, (kind, rows) in enumerate(table.groupby("training", sort=False)):
        means = rows.assign(log=np.log(rows["D"])).groupby("displacement")["log"].mean()
        ax.plot(means.index, np.exp(means), ("--", "-")[number], color=f"C{number}", label=kind)
        ax.plot(rows["displacement"], rows["D"], "so"[number], color=f"C{number}", alpha=0.5)
    ax.set(xscale="log", yscale="log", xlabel="rms displacement (pixels)", ylabel="D of the output")
    read_as_numbers(ax.xaxis)
    read_as_numbers(ax.yaxis)
    ax.legend()


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """Return log(D shifted / D plain): a row a seed, a column a displacement; pairs without both are left out."""
    logs = table.assign(log=np.log(table["D"])).pivot(index=["displacement", "seed"], columns="training", values="log")
    return (logs["shifted"] - logs["plain"]).unstack("displacement").dropna()


def estimates(tables: Tables) -> dict[str, list[Estimate]]:
    """Return the numbers by which the claims are judged, with 95 % intervals of Student's t over seeds."""
    if "measurement" not in tables or tables["measurement"]["training"].nunique() < 2:
        return {}
    found = []
    for displacement, values in differences(tables["measurement"]).items():
        mean, count = float(values.mean()), len(values)
        reach = float(t.ppf(0.975, count - 1) * values.std(ddof=1) / math.sqrt(count)) if count > 1 else math.nan
        found.append(Estimate(mean, mean - reach, mean + reach, float(displacement), "", f"over {count} seeds"))
    return {"shifts-lower-D": found}


CLAIM = Claim(
    identifier="shifts-lower-D",
    study="shifts",
    source="a guess",
    sentence="Networks that learn from shifted copies of the images are less sensitive to deformations.",
    quantity="log of D of the output, with shifts over without, paired over seeds",
    low=-math.inf,
    high=0.0,
    why="the sign is what is guessed",
)

STUDY = Study(
    name="shifts",
    title="Shifted copies and the sensitivity to deformations",
    source="",
    shows="D of networks that learn from the digits as they are, and from digits shifted by up to two pixels.",
    scales={
        "smoke": Shifts(seeds=2, width=0.1, epochs=1, train_images=100, measured=40),
        "laptop": Shifts(seeds=4, width=0.15, epochs=8, measured=300),
    },
    runs=runs,
    tables=tables,
    panels=panels,
    estimates=estimates,
    claims=(CLAIM,),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=[scale for scale in SCALES if scale in STUDY.scales], default="laptop")
    parser.add_argument("--cores", type=int, help="of this machine (default: all)")
    parser.add_argument("--out", type=Path, default=Path("own-study"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    settings = STUDY.scales[arguments.scale]
    part = Part(STUDY, settings, runs(settings, Sources("digits")))
    store = Store(arguments.out / "store")
    found = reproduce([part], arguments.scale, store=store, cores=arguments.cores)
    save_part(part, arguments.out)
    page = write_site(found, arguments.out / "report", record={"command": "python examples/own_study.py"})
    print(found.claims[["claim", "displacement", "value", "low", "high", "verdict"]].to_string(index=False))
    print(f"open {page}")
    if found.failures:
        raise SystemExit(1)


if __name__ == "__main__":  # the runner's processes import this file
    main()
