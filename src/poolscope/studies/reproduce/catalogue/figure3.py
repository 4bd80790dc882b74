"""Figure 3: R along VGG11 on CIFAR-10, trained, before training, and with shuffled channels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from poolscope.report import Panel, plot_quantity
from poolscope.studies.reproduce.catalogue.along import combined, log_ratios, logs, over_networks, slopes
from poolscope.studies.reproduce.catalogue.networks import DISPLACEMENTS, VGG, VGGS, vgg
from poolscope.studies.reproduce.catalogue.outcomes import by_seed, outcome_words, outcomes
from poolscope.studies.reproduce.catalogue.shuffled import share_at_output
from poolscope.studies.reproduce.claim import PUBLISHED, Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import Sources, Study, Tables
from poolscope.studies.reproduce.work.measured import measured
from poolscope.studies.reproduce.work.pooled import pooled

if TYPE_CHECKING:
    import pandas as pd

_CONVOLUTIONS = 8  # of VGG11
_OPEN = (1, 7, 8)  # layers at which gaps are said to open
_MAIN, _PAIR = "vgg11_bn-main", ("vgg11", "vgg11_bn")


def vgg_runs(settings: VGG, sources: Sources) -> dict[str, Job]:
    """Return the VGGs and what is measured of each: ``NAME/SEED``, and with ``-pooled`` behind it."""
    found = {}
    for seed in settings.seeds:
        found[f"{_MAIN}/{seed}"] = vgg(settings, sources, seed)
    for name in _PAIR:
        for seed in settings.pair_seeds:
            found[f"{name}/{seed}"] = vgg(settings, sources, seed, pair=name)  # type: ignore[arg-type]
    more = {
        f"{name}-pooled": pooled(job, displacement=DISPLACEMENTS, images=settings.measured, draws=settings.shuffles)
        for name, job in found.items()
    }
    return found | more


def _runs(settings: VGG, sources: Sources) -> dict[str, Job]:
    found = vgg_runs(settings, sources)
    for seed in settings.seeds:
        found[f"{_MAIN}/{seed}-batch"] = measured(
            found[f"{_MAIN}/{seed}"], variants=("initial/batch",), displacement=DISPLACEMENTS, images=settings.measured
        )
    return found


def _tables(settings: VGG, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    tables = by_seed(found, "-pooled", ("measurement", "shares"))
    batch = by_seed(found, "-batch", ("measurement",))
    if batch:
        tables["initial_batch"] = batch["measurement"]
    return {**tables, "outcomes": outcomes(found)}


def _panels(tables: Tables) -> list[Panel]:
    if "measurement" not in tables:
        return []
    import pandas as pd

    rows = tables["measurement"]
    rows = rows[rows["seed"] == rows.groupby("network")["seed"].transform("min")]
    main = rows[rows["network"] == _MAIN]
    if "initial_batch" in tables and len(main):
        batch = tables["initial_batch"]
        batch = batch[batch["seed"] == main["seed"].iloc[0]]
        main = pd.concat([main, batch.assign(variant="initial, batch statistics")], ignore_index=True)
    pair = rows[rows["network"].isin(_PAIR) & (rows["variant"] != "initial")]
    pair = pair.assign(model=pair["network"])
    panels = []
    wanted = [("vgg11_bn", main, "R", size) for size in DISPLACEMENTS]
    wanted += [("vgg11_bn", main, quantity, PUBLISHED) for quantity in "DG"]
    wanted += [("pair", pair, "R", size) for size in DISPLACEMENTS]
    for name, table, quantity, displacement in wanted:
        own = table[np.isclose(table["displacement"], displacement)]
        if own.empty:
            continue
        words = _words_of(name, tables["outcomes"])
        panels.append(
            Panel(
                f"{name}-{quantity}-{displacement:g}px",
                f"{quantity} along {words} at {displacement:g} px (true rms; cutoff 3). One training seed; bands: 95 % "
                f"over {int(own['images'].iloc[0])} test images.",
                (4.8, 4.4),
                lambda ax, own=own, quantity=quantity: plot_quantity(own, quantity, ax=ax),  # type: ignore[misc]
            )
        )
    return panels


def _words_of(name: str, table: pd.DataFrame) -> str:
    shuffled = "dashed: with shuffled channels, thin lines each shuffle"
    width = float(table.loc[table["network"].isin(_PAIR if name == "pair" else (_MAIN,)), "width"].iloc[0])
    wide = "the published width" if width == 1 else f"{width:g} times the published width"
    if name == "pair":
        return f"VGG11 without and with batch norm, of {wide} (solid: trained; {shuffled}),"
    return (
        f"VGG11 with batch norm, of {wide} (solid: trained; {shuffled}; dotted: before training, its batch norms in "
        "running statistics; long dashes: before training, in those of each batch, as the authors have it)"
    )


def _words(tables: Tables) -> list[str]:
    return outcome_words(tables["outcomes"]) if "outcomes" in tables else []


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    if "measurement" not in tables:
        return {}
    rows = tables["measurement"]
    main = rows[rows["network"] == _MAIN]
    trained, initial = main[main["variant"] == "trained"], main[main["variant"] == "initial"]
    found: dict[str, list[Estimate]] = {}
    if len(trained):
        found["R-falls-with-depth"] = slopes(trained, "R")
        found["D-falls-with-depth"] = slopes(trained, "D")
        shares = tables["shares"]
        found["shuffled-between"] = share_at_output(shares[shares["network"] == _MAIN])
        found["gaps-open-at-1-7-8"] = _gaps(shares[shares["network"] == _MAIN])
    if "initial_batch" in tables and len(trained):
        outputs = {name: each[each["kind"] == "output"] for name, each in (("t", trained), ("i", initial))}
        batch = tables["initial_batch"]
        batch = batch[batch["kind"] == "output"]
        for claim, quantity in (("D-falls", "D"), ("G-rises", "G"), ("R-falls", "R")):
            found[f"{claim}-with-training"] = [
                Estimate(
                    by.value, by.low, by.high, by.displacement, by.part, by.interval,
                    "initial network under batch statistics, as the authors have it; under running statistics "
                    f"{running.value:.2f} ({running.low:.2f} to {running.high:.2f})",
                )
                for by, running in zip(
                    log_ratios(outputs["t"], batch, quantity), log_ratios(outputs["t"], outputs["i"], quantity),
                    strict=True,
                )
            ]  # fmt: skip
    if "shares" in tables:
        found["shuffled-alike"] = _alike(tables["shares"])
    return found


def _log_gaps(shares: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return log(R shuffled / R) behind each convolution, and its standard errors."""
    rows = shares[shares["kind"] == "activation"]
    plain, plain_errors = logs(rows.sort_values("position").iloc[:_CONVOLUTIONS], "R")
    other, other_errors = _shuffled_logs(rows)
    return other - plain, np.hypot(plain_errors, other_errors)


def _gaps(shares: pd.DataFrame) -> list[Estimate]:
    """Return growth of the gap at layers 1, 7, 8 less that at 2 to 6, at each displacement."""
    weights = np.zeros(_CONVOLUTIONS)
    for layer in range(1, _CONVOLUTIONS + 1):
        share = 1 / len(_OPEN) if layer in _OPEN else -1 / (_CONVOLUTIONS - len(_OPEN))
        weights[layer - 1] += share
        if layer > 1:
            weights[layer - 2] -= share
    found = []
    for displacement in sorted(set(shares["displacement"])):
        rows = shares[shares["displacement"] == displacement]
        gaps = [_log_gaps(own) for _, own in rows.groupby("seed")]
        each = [combined(values, errors, weights) for values, errors in gaps]
        means = np.mean([values for values, _ in gaps], axis=0)
        note = f"log gaps behind layers 1 to 8: {', '.join(f'{value:.2f}' for value in means)}"
        found.append(over_networks(each, float(displacement), "", note, "over images and shuffles"))
    return found


def _alike(shares: pd.DataFrame) -> list[Estimate]:
    """Return the rms over layers of the log ratio of the pair's shuffled curves, at each displacement."""
    found = []
    for displacement in sorted(set(shares["displacement"])):
        rows = shares[(shares["displacement"] == displacement) & (shares["kind"] == "activation")]
        one, other = (rows[rows["network"] == name] for name in _PAIR)
        seeds = sorted(set(one["seed"]) & set(other["seed"]))
        if not seeds:
            continue
        each, notes = [], []
        for seed in seeds:
            (logs_one, errors_one), (logs_other, errors_other) = (
                _shuffled_logs(own[own["seed"] == seed]) for own in (one, other)
            )
            apart, errors = logs_one - logs_other, np.hypot(errors_one, errors_other)
            size = math.sqrt(float((apart**2).mean()))
            reach = 1.96 * float((np.abs(apart) * errors).mean()) / size if size else math.nan
            each.append((size, max(0.0, size - reach), size + reach))
            notes.append(", ".join(f"{value:.2f}" for value in apart))
        note = f"log ratios behind layers 1 to 8: {'; '.join(notes)}"
        found.append(over_networks(each, float(displacement), "", note, "over images and shuffles"))
    return found


def _shuffled_logs(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return log R of the shuffled copies behind each convolution, and its standard errors."""
    rows = rows.sort_values("position").iloc[:_CONVOLUTIONS]
    renamed = rows.assign(R=rows["R_shuffled"], R_low=rows["R_shuffled_low"], R_high=rows["R_shuffled_high"])
    return logs(renamed, "R")


STUDY = Study(
    name="fig3",
    title="R along VGG11, with and without shuffled channels",
    source="Figure 3, left",
    shows="How R changes along the layers of VGG11 on CIFAR-10. Shuffling channels keeps each filter and breaks how "
    "channels work together: what then is left of the fall of R is spatial pooling.",
    scales=VGGS,
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
    words=_words,
)
