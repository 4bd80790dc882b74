"""Train simple CNNs, measure them on the whole task, and set them beside the theory: tables, figures, a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolscope.report import Panel, Section, Table, plot_pileup, plot_scaling, save_panels, write_page
from poolscope.report.figures import spectrum_panels
from poolscope.sensitivity import Result
from poolscope.studies.scale_detection.measured import (
    Protocol,
    mean_filters,
    over_seeds,
    pileup,
    sensitivities,
    spectra,
    taps_of,
)
from poolscope.studies.scale_detection.slopes import exact, slopes, theory_curve
from poolscope.tasks import parse
from poolscope.theory import laws, predict
from poolscope.training.simple.experiment import Experiment
from poolscope.training.simple.finished import SimpleRuns
from poolscope.training.simple.run import train_simple

if TYPE_CHECKING:
    import pandas as pd

_QUANTITIES = ("D", "G", "R")


@dataclass
class Simple:
    """Trained simple CNNs, measured.

    Attributes:
        runs: what was trained.
        sensitivity: of `sensitivities`, every seed.
        averages: the same over seeds.
        theory: exact values for homogeneous filters, the asymptotic laws, and exact values for each seed's own mean
            filters: ``label``, ``k``, ``A``, ``D``, ``G`` (rectified noise), ``G_plain``, ``R``.
        slopes: of `slopes`.
        filters: of `mean_filters`.
        spectrum: of `spectra`.
        pileup: of `pileup`, or ``None``.
    """

    runs: SimpleRuns
    sensitivity: pd.DataFrame
    averages: pd.DataFrame
    theory: pd.DataFrame
    slopes: pd.DataFrame
    filters: pd.DataFrame
    spectrum: pd.DataFrame
    pileup: pd.DataFrame | None

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables by name."""
        found = {
            "outcomes": self.runs.outcomes.drop(columns="together"),
            "sensitivity": self.sensitivity,
            "averages": self.averages,
            "theory": self.theory,
            "slopes": self.slopes,
            "filters": self.filters,
            "spectrum": self.spectrum,
        }
        return found if self.pileup is None else {**found, "pileup": self.pileup}

    def summary(self) -> list[tuple[str, list[str]]]:
        """Say in plain words what came out: topics, and their sentences."""
        return [("Training", _training(self.runs)), ("Theory", _agreement(self)), ("Slopes", _slopes(self.slopes))]

    def save(self, folder: Path, record: dict[str, Any]) -> list[Path]:
        """Write tables (Parquet), figures (PNG and PDF) and ``report.html``; return their paths.

        Args:
            folder: an existing folder.
            record: how it was made.
        """
        tables = self.tables()
        paths = [Result(table, record).save(folder / f"{name}.parquet") for name, table in tables.items()]
        panels = _panels(self)
        filters = spectrum_panels(one_network(self.spectrum))
        paths += save_panels([*panels, *filters], folder)
        task = parse(self.runs.experiment.task)[0]
        words = {
            "outcomes": "test error: all pairs of the task that were not learned from; balanced: the mean of the two "
            "classes'. Times in epochs.",
            "averages": "geometric means over seeds and 95 % intervals of Student's t on the logarithm, with "
            "several seeds; mean_channel: activations averaged over channels, as in the authors' code.",
            "theory": "G: rectified noise; G_plain: plain noise into a ReLU network. Mean filters: exact values for "
            "the network of one channel with the seed's own mean filters.",
            "slopes": "of log D, G, R against log A over the layers named; exact: of the finite-size theory over the "
            "same layers; law: equations (5), (7), (8), (9).",
            "filters": "averages over channels of the raw parameters, as in Tables C2 and C3; spread: their standard "
            "deviation over their mean's size, 0 for a homogeneous filter.",
        }
        paths.append(
            write_page(
                folder / "report.html",
                f"Simple CNNs on task {task.task}",
                subtitle=f"{self.runs.experiment.task} · {len(self.runs.outcomes)} seeds",
                summary=self.summary(),
                sections=[
                    Section("D, G and R against the receptive field", panels=panels),
                    Section("The filters", panels=filters),
                    Section(
                        "The numbers",
                        tables=[
                            Table(name.replace("_", " "), each, (), words.get(name, ""))
                            for name, each in tables.items()
                        ],
                    ),
                ],
                record=record,
            )
        )
        return paths


def run(
    experiment: Experiment, *, seeds: Sequence[int], out: Path, protocol: Protocol = "text", **options: Any
) -> Simple:
    """Train the seeds of an experiment in ``out``, or read those that have ended, and measure them.

    Args:
        experiment: task, network and training.
        seeds: without repetition.
        out: made if missing.
        protocol: of moves, as for `measured.moves_of`.
        options: of `train_simple`: ``device``, ``threads``, ``say``, ``progress``.

    Raises:
        ValueError: no seed interpolated, or what `train_simple` refuses.
    """
    return gather(train_simple(experiment, out, seeds=seeds, **options), protocol=protocol)


def gather(runs: SimpleRuns, *, protocol: Protocol = "text", pile: bool = True) -> Simple:
    """Measure trained simple CNNs.

    Args:
        runs: at least one finished seed.
        protocol: of moves.
        pile: whether to look how noise piles up, too.

    Raises:
        ValueError: no seed interpolated.
    """
    if not runs.finished:
        said = "; ".join(f"seed {row['seed']}: {row['reason']}" for row in runs.outcomes.to_dict("records"))
        raise ValueError(f"at least one seed must have interpolated, to be measured; got {said}")
    measured = sensitivities(runs, protocol=protocol)
    return Simple(
        runs,
        measured,
        over_seeds(measured),
        _theory(runs),
        slopes(measured, runs.experiment),
        mean_filters(runs),
        spectra(runs),
        pileup(runs) if pile else None,
    )


def _theory(runs: SimpleRuns) -> pd.DataFrame:
    import pandas as pd

    experiment = runs.experiment
    task = parse(experiment.task)[0]
    tables = [exact(experiment).assign(label="exact, homogeneous filters")]
    law = laws(experiment.filter_size, experiment.stride, experiment.depth, dim=task.dim)
    tables.append(law.rename(columns={"G": "G_rectified"}).assign(label="law"))
    for seed in runs.finished:
        predicted = predict(
            task=task.task,
            length=task.length,
            scale=task.scale,
            gap=task.gap,
            stride=experiment.stride,
            depth=experiment.depth,
            filters=[taps.numpy() for taps in taps_of(runs, seed)],
            dim=task.dim,
        )
        tables.append(predicted.assign(label=f"exact, mean filters of seed {seed}"))
    table = pd.concat(tables, ignore_index=True).rename(columns={"G_rectified": "G", "G_relu": "G_plain"})
    return table[["label", "k", "A", "D", "G", "G_plain", "R", "note"]]


def _panels(found: Simple) -> list[Panel]:
    experiment = found.runs.experiment
    reference = found.theory[~found.theory["label"].str.contains("seed")]
    seeds = len(found.runs.finished)
    panels = []
    for noise in ("rectified", "plain"):
        rows = found.averages[found.averages["noise"] == noise]
        shown = reference
        if noise == "plain":
            theory = exact(experiment)
            curve = theory_curve(theory, "G", noise, experiment)
            shown = theory.assign(label="exact, homogeneous filters", G=curve, R=theory["D"] / curve)
        for quantity in _QUANTITIES if noise == "rectified" else ("G", "R"):
            panels.append(
                Panel(
                    f"{quantity}-{noise}",
                    f"{quantity} against the receptive field, {noise} noise; {seeds} seeds, bands: 95 % over seeds. "
                    f"Solid grey: exact theory{'; dashed: its asymptotic law' if noise == 'rectified' else ''}.",
                    (5.2, 4.2),
                    lambda ax, rows=rows, quantity=quantity, shown=shown: plot_scaling(rows, quantity, shown, ax=ax),  # type: ignore[misc]
                )
            )
    if found.pileup is not None:
        shares = average_shares(found.pileup)
        panels.append(
            Panel(
                "pileup",
                f"Share of the response to plain noise that all draws have in common; {seeds} seeds.",
                (5.2, 4.2),
                lambda ax: plot_pileup(shares, ax=ax),
            )
        )
    return panels


def average_shares(table: pd.DataFrame) -> pd.DataFrame:
    """Average the coherent share over seeds: means, and 95 % intervals of Student's t where there are three or more."""
    import numpy as np
    import pandas as pd
    from scipy.stats import t

    rows = []
    for (model, variant, k), group in table.groupby(["model", "variant", "k"], sort=False):
        values = group["share"].to_numpy(dtype=float)
        reach = np.nan
        if len(values) >= 3:
            reach = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
        elif len(values) == 1:
            reach = 1.96 * float(group["share_se"].iloc[0])
        middle = values.mean()
        rows.append(
            {
                "model": model, "variant": variant, "k": k, "seeds": len(values), "share": middle,
                "share_low": middle - reach, "share_high": middle + reach,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def one_network(spectrum: pd.DataFrame) -> pd.DataFrame:
    """Return the spectra averaged over seeds, as one network's."""
    keys = [
        "layer",
        "position",
        "kernel",
        "filters",
        "dilation",
        "level",
        "eigenvalue",
        "multiplicity",
        "model",
        "note",
    ]
    numbers = [name for name in spectrum.columns if name not in [*keys, "seed"]]
    averaged: pd.DataFrame = spectrum.groupby(keys, sort=False, dropna=False)[numbers].mean().reset_index()
    return averaged[[name for name in spectrum.columns if name != "seed"]]


def _training(runs: SimpleRuns) -> list[str]:
    said = []
    for row in runs.outcomes.to_dict("records"):
        times = f"interpolated after {row['interpolation']:g} epochs, " if row["interpolation"] else ""
        said.append(
            f"Seed {row['seed']} {row['status']}: {times}trained for {row['epochs']}; test error "
            f"{row['test_error']:.2%} on all pairs that were not learned from ({row['balanced_test_error']:.2%} "
            "averaged over the classes)."
        )
    return said


def _agreement(found: Simple) -> list[str]:
    """Say at which layers measured D and G are within 10 % of the exact values."""
    theory = found.theory[found.theory["label"] == "exact, homogeneous filters"].set_index("k")
    rows = found.averages[(found.averages["variant"] == "trained") & (found.averages["noise"] == "rectified")]
    said = []
    for quantity in ("D", "G"):
        ratio = rows.set_index("k")[quantity] / theory[quantity]
        near = [int(k) for k in ratio.index if abs(ratio[k] - 1) <= 0.1]
        where = f"layers {_runs(near)}" if near else "no layer"
        said.append(
            f"{quantity} of the trained networks (rectified noise, mean over seeds) is within 10 % of the exact values "
            f"for homogeneous filters at {where} of {len(ratio)}."
        )
    return said


def _runs(numbers: Sequence[int]) -> str:
    """Return 1, 2, 3, 5 as "1 to 3, 5"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]} to {part[-1]}" for part in parts)


def _slopes(table: pd.DataFrame) -> list[str]:
    said = []
    chosen = table[(table["variant"].isin(["trained", "initial"])) & (table["noise"] == "rectified")]
    for row in chosen.to_dict("records"):
        between = f" ({row['low']:.2f} to {row['high']:.2f}, 95 % over seeds)" if row["seeds"] > 2 else ""
        said.append(
            f"{row['variant'].capitalize()}: {row['quantity']} grows as A to the power {row['slope']:.2f}{between} "
            f"over layers {row['layers']}; exact theory {row['exact']:.2f}, asymptotic law {row['law']:.0f}."
        )
    return said
