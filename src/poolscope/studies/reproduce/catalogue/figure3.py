"""Figure 3: R along VGG11 on CIFAR-10, trained, before training, and with shuffled channels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from poolscope.report import Panel, plot_quantity
from poolscope.studies.reproduce.catalogue.along import combined, log_ratios, logs, slopes
from poolscope.studies.reproduce.catalogue.networks import DISPLACEMENTS, VGG, VGGS, vgg
from poolscope.studies.reproduce.catalogue.reading import below_each_other
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


def with_seeds(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Split ``network``, "NAME/SEED", into the columns ``network`` and ``seed``."""
    for table in tables.values():
        parts = table["network"].str.split("/")
        table["network"] = parts.str[0]
        table.insert(1, "seed", parts.str[1].astype(int))
    return tables


def _tables(settings: VGG, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    tables = with_seeds(below_each_other(found, "-pooled", ("measurement", "shares")))
    batch = with_seeds(below_each_other(found, "-batch", ("measurement",)))
    return tables | ({"initial_batch": batch["measurement"]} if batch else {})


def _panels(tables: Tables) -> list[Panel]:
    if "measurement" not in tables:
        return []
    rows = tables["measurement"]
    panels = []
    wanted = [(_MAIN, "R", size) for size in DISPLACEMENTS]
    wanted += [(_MAIN, "D", PUBLISHED), (_MAIN, "G", PUBLISHED), *[(name, "R", PUBLISHED) for name in _PAIR]]
    for network, quantity, displacement in wanted:
        own = rows[(rows["network"] == network) & np.isclose(rows["displacement"], displacement)]
        if own.empty:
            continue
        own = own[own["seed"] == own["seed"].min()]
        panels.append(
            Panel(
                f"{network}-{quantity}-{displacement:g}px",
                f"{quantity} along {_words(network)} at {displacement:g} px (true rms; cutoff 3). Solid: trained; "
                "dotted: before training (running statistics); dashed: shuffled channels, thin lines each shuffle. One "
                "training seed, bands: 95 % over images.",
                (4.8, 4.0),
                lambda ax, own=own, quantity=quantity: plot_quantity(own, quantity, ax=ax),  # type: ignore[misc]
            )
        )
    return panels


def _words(network: str) -> str:
    return "VGG11-bn, the widest" if network == _MAIN else f"{network}, one of the narrow pair"


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
    rows = shares[shares["kind"] == "activation"].sort_values("position").iloc[:_CONVOLUTIONS]
    plain, plain_errors = logs(rows, "R")
    renamed = rows.assign(R=rows["R_shuffled"], R_low=rows["R_shuffled_low"], R_high=rows["R_shuffled_high"])
    other, other_errors = logs(renamed, "R")
    return other - plain, np.hypot(plain_errors, other_errors)


def _gaps(shares: pd.DataFrame) -> list[Estimate]:
    """Return growth of the gap at layers 1, 7, 8 less that at 2 to 6, of the first seed."""
    weights = np.zeros(_CONVOLUTIONS)
    for layer in range(1, _CONVOLUTIONS + 1):
        share = 1 / len(_OPEN) if layer in _OPEN else -1 / (_CONVOLUTIONS - len(_OPEN))
        weights[layer - 1] += share
        if layer > 1:
            weights[layer - 2] -= share
    found = []
    first = shares[shares["seed"] == shares["seed"].min()]
    for displacement in sorted(set(first["displacement"])):
        rows = first[first["displacement"] == displacement]
        values, errors = _log_gaps(rows)
        note = f"log gaps behind layers 1 to 8: {', '.join(f'{value:.2f}' for value in values)}"
        estimate = combined(values, errors, weights)
        interval = "over images and shuffles, one training seed"
        found.append(Estimate(*estimate, float(displacement), "", interval, note))
    return found


def _alike(shares: pd.DataFrame) -> list[Estimate]:
    """Return the rms over layers of the log ratio of the pair's shuffled curves."""
    found = []
    for displacement in sorted(set(shares["displacement"])):
        rows = shares[shares["displacement"] == displacement]
        curves = []
        for name in _PAIR:
            own = rows[(rows["network"] == name) & (rows["kind"] == "activation")]
            if own.empty:
                return []
            own = own[own["seed"] == own["seed"].min()].sort_values("position").iloc[:_CONVOLUTIONS]
            renamed = own.assign(R=own["R_shuffled"], R_low=own["R_shuffled_low"], R_high=own["R_shuffled_high"])
            curves.append(logs(renamed, "R"))
        (one, one_errors), (other, other_errors) = curves
        apart, errors = one - other, np.hypot(one_errors, other_errors)
        size = math.sqrt(float((apart**2).mean()))
        reach = 1.96 * float((np.abs(apart) * errors).mean()) / size if size else math.nan
        note = f"log ratios behind layers 1 to 8: {', '.join(f'{value:.2f}' for value in apart)}"
        interval = "over images and shuffles, one training seed each"
        low = max(0.0, size - reach)
        found.append(Estimate(size, low, size + reach, float(displacement), "", interval, note))
    return found


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
)
