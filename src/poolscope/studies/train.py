"""Several seeds of one training: runs, tables over seeds, figures, page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolscope.report import (
    Panel,
    Section,
    Table,
    plot_dynamics,
    plot_layers,
    plot_training,
    save_panels,
    write_page,
)
from poolscope.sensitivity import Result
from poolscope.training import Data, Recipe, Run
from poolscope.training.averages import average_over_seeds, outcomes
from poolscope.training.launch import configure, rehearse
from poolscope.training.run import train_run

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Trained:
    """What several seeds of one training gave.

    Attributes:
        runs: in the order of their seeds, dead ones too.
        outcomes: a row a run.
        curves: the runs' curves below each other, with their ``status``.
        sensitivity: their measurements below each other, or ``None``.
        averages: D, G, R over the seeds that finished, or ``None``.
    """

    runs: list[Run]
    outcomes: pd.DataFrame
    curves: pd.DataFrame
    sensitivity: pd.DataFrame | None
    averages: pd.DataFrame | None

    @property
    def finished(self) -> list[Run]:
        """The runs to be averaged."""
        return [run for run in self.runs if run.finished]

    def summary(self) -> list[tuple[str, list[str]]]:
        """Say in plain words what came out: topics, and their sentences."""
        return [
            (topic, said)
            for topic, said in (("Error", _errors(self.runs)), ("Training time", _dynamics(self.averages)))
            if said
        ]

    def save(self, folder: Path, record: dict[str, Any]) -> list[Path]:
        """Write tables (Parquet), figures (PNG and PDF) and ``report.html``; return their paths.

        Args:
            folder: an existing folder.
            record: how it was made.
        """
        tables = {
            "outcomes": self.outcomes,
            "curves": self.curves,
            "sensitivity": self.sensitivity,
            "averages": self.averages,
        }
        paths = [
            Result(table, record).save(folder / f"{name}.parquet")
            for name, table in tables.items()
            if table is not None
        ]
        panels = _panels(self)
        paths += save_panels(panels, folder)
        words = {
            "outcomes": "best: of the epoch that was chosen; errors are shares of the images.",
            "curves": "loss and error of the training images are means over the epoch, while the weights change.",
            "averages": "low, high: 95 % intervals, over seeds, or over images where there is one seed. Dead seeds are "
            "left out.",
        }
        titles = {"outcomes": "Runs", "averages": "D, G, R over seeds", "curves": "Curves", "sensitivity": "Each seed"}
        model = self.runs[0].configuration.model
        paths.append(
            write_page(
                folder / "report.html",
                f"Training {model}",
                subtitle=_subtitle(self.runs),
                summary=self.summary(),
                sections=[
                    Section("Training", panels=panels[:2]),
                    *([Section("D, G and R on the way", panels=panels[2:])] if panels[2:] else []),
                    Section(
                        "The numbers",
                        tables=[
                            Table(title, table, (), words.get(name, ""))
                            for name, title in titles.items()
                            if (table := tables[name]) is not None
                        ],
                    ),
                ],
                record=record,
            )
        )
        return paths


def run(
    model: str,
    data: Data,
    recipe: Recipe,
    *,
    seeds: Sequence[int],
    out: Path,
    say: Callable[[str], object] = print,
    trust_code: bool = False,
    **options: Any,
) -> Trained:
    """Train a network once for every seed, each run in its folder ``seed-N`` of ``out``.

    Seeds are independent: their order changes nothing, finished ones are read, interrupted ones go on.

    Args:
        model: name of the network.
        data: of ``prepare_data``.
        recipe: of the training.
        seeds: without repetition.
        out: made if missing.
        say: told of each epoch.
        trust_code: as for ``load_model``.
        options: of ``configure``: ``measure_at``, ``measure``, ``options``, ``device``, ``threads``.

    Raises:
        ValueError: no seed, one that is given twice, or what ``train`` refuses.
    """
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError(f"seeds must be one or more different numbers from 0; got {list(seeds)}")
    configurations = {seed: configure(model, data, recipe, seed=seed, **options) for seed in seeds}
    runs = []
    for seed, configuration in configurations.items():
        folder = out / f"seed-{seed}"
        if not (folder / "run.json").exists():
            rehearse(configuration, data, trust_code=trust_code)
        runs.append(train_run(configuration, data, folder, say=say, trust_code=trust_code))
    return gather(runs)


def gather(runs: Sequence[Run]) -> Trained:
    """Put finished runs of one network, at least one, into tables."""
    import pandas as pd

    runs = sorted(runs, key=lambda each: each.configuration.seed)
    measured = [each.sensitivity for each in runs if each.sensitivity is not None]
    alive = [each.sensitivity for each in runs if each.finished and each.sensitivity is not None]
    return Trained(
        list(runs),
        outcomes(runs),
        pd.concat([each.curve.assign(status=each.outcome["status"]) for each in runs], ignore_index=True),
        pd.concat(measured, ignore_index=True) if measured else None,
        average_over_seeds(pd.concat(alive, ignore_index=True)) if alive else None,
    )


def _errors(runs: Sequence[Run]) -> list[str]:
    finished = [run for run in runs if run.finished]
    said = []
    if finished:
        errors = [run.outcome["best_test_error"] for run in finished]
        mean = sum(errors) / len(errors)
        spread = ""
        if len(errors) > 1:
            deviation = (sum((error - mean) ** 2 for error in errors) / (len(errors) - 1)) ** 0.5
            spread = f" (mean of {len(errors)} seeds, from {min(errors):.2%} to {max(errors):.2%}; standard deviation "
            spread += f"{deviation:.2%})"
        whose = "each seed's" if len(errors) > 1 else "the"
        said.append(f"Test error {mean:.2%}{spread} at {whose} epoch of the least {_selection(finished[0])}.")
        if finished[0].outcome["selected_by"] == "test":
            said.append(
                "The epoch was chosen by the test images themselves, as in the paper's code: this error is a minimum "
                "over epochs, and to be expected smaller than that on other images."
            )
    for run in runs:
        if not run.finished:
            said.append(f"Seed {run.configuration.seed} is dead, and left out of every mean: {run.outcome['reason']}.")
    return said


def _selection(run: Run) -> str:
    count = run.configuration.data.validation
    return "test error" if count == "test" else f"error on {count} validation images"


def _dynamics(averages: pd.DataFrame | None) -> list[str]:
    if averages is None:
        return []
    said = []
    for displacement, rows in averages[averages["layer"] == "output"].groupby("displacement", sort=True):
        rows = rows.sort_values("epoch")
        varied = rows["seeds"].nunique() > 1  # runs may end at different epochs
        steps = []
        for row in rows.to_dict("records"):
            step = "not defined"
            if row["R"] == row["R"]:
                step = f"{row['R']:.3g}"
                step += "" if row["seeds"] == 2 else f" ({row['R_low']:.3g} to {row['R_high']:.3g})"
            step += " before training" if row["epoch"] == 0 else f" after epoch {row['epoch']}"
            steps.append(step + (f" [{_seeds(row['seeds'])}]" if varied else ""))
        said.append(f"R of the output at {displacement:g} px: {', '.join(steps)}; {_intervals(rows)}.")
    return said


def _seeds(number: int) -> str:
    return "1 seed" if number == 1 else f"{number} seeds"


def _intervals(rows: pd.DataFrame) -> str:
    """Say what the intervals are of."""
    if (rows["seeds"] == 2).all():
        return "means of two seeds"
    kinds = rows.loc[rows["seeds"] != 2, "interval"].unique()
    if len(kinds) == 1:
        return f"95 % intervals {kinds[0]}"
    return "95 % intervals over seeds, where there is one seed over images"


def _subtitle(runs: Sequence[Run]) -> str:
    first = runs[0].configuration
    parts = [
        first.data.spec,
        f"{first.recipe.epochs} epochs",
        f"seed{'s' if len(runs) > 1 else ''} {', '.join(str(r.configuration.seed) for r in runs)}",
    ]
    if first.data.eta:
        parts.append(f"{first.data.noise} noise of norm {first.data.eta:g}")
    return " · ".join(parts)


def _panels(trained: Trained) -> list[Panel]:
    curves = trained.curves
    thin = "; thin: seeds, thick: their mean" if len(trained.runs) > 1 else ""
    thin += " without dead ones" if thin and len(trained.finished) < len(trained.runs) else ""
    judged = ""
    if trained.runs[0].configuration.data.validation == "test":
        judged = " The test images choose the epoch."
    panels = [
        Panel(
            "error",
            f"Error against epochs{thin}. Training images are augmented, and judged while the weights change.{judged}",
            (5.2, 3.8),
            lambda ax: plot_training(curves, "error", ax=ax),
        ),
        Panel("loss", f"Loss against epochs{thin}.", (5.2, 3.8), lambda ax: plot_training(curves, "loss", ax=ax)),
    ]
    averages = trained.averages
    if averages is None:
        return panels
    amplitudes = averages[["displacement", "cutoff"]].drop_duplicates().itertuples(index=False, name=None)
    for displacement, cutoff in amplitudes:
        rows = averages[(averages["displacement"] == displacement) & (averages["cutoff"] == cutoff)]
        where = f"{displacement:g} px"
        kind = f"Deformations of {where} (rms, cutoff {cutoff})" if cutoff else f"Moves of single pixels, {where} (rms)"
        words = f"{kind}; {_intervals(rows)}."
        if rows["epoch"].nunique() > 1:
            panels.append(
                Panel(
                    f"dynamics-{displacement:g}px",
                    f"The output against training time. {words}",
                    (5.2, 3.8),
                    lambda ax, rows=rows: plot_dynamics(rows, ax=ax),  # type: ignore[misc]
                )
            )
        if rows["layer"].nunique() > 2:
            panels.append(
                Panel(
                    f"layers-{displacement:g}px",
                    f"R against depth as training goes on. {words}",
                    (5.2, 3.8),
                    lambda ax, rows=rows: plot_layers(rows, ax=ax),  # type: ignore[misc]
                )
            )
    return panels
