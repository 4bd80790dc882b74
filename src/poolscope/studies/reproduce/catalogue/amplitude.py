"""R of trained and initial networks over displacement and cutoff: what every statement about R depends on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from poolscope.perturb import Diffeomorphism, least_jacobian
from poolscope.report import Panel, plot_amplitude_maps, plot_cuts, plot_phase_diagram, plot_phases
from poolscope.studies.reproduce.catalogue.along import log_ratios
from poolscope.studies.reproduce.catalogue.networks import DISPLACEMENTS, VGG, VGGS, vgg
from poolscope.studies.reproduce.catalogue.reading import read_tables
from poolscope.studies.reproduce.claim import PUBLISHED
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import Settings, Sources, Study, Tables
from poolscope.studies.reproduce.work.measured import measured

if TYPE_CHECKING:
    import pandas as pd

_RULES = {"eval": "running statistics", "batch": "batch statistics, the authors'"}
_FIELDS = 2000  # drawn to see whether they fold: 1 % is known to 0.2 %
_MOST_FOLDED = 0.01


class Amplitude(Settings):
    """A network, and the deformations it is measured under.

    Attributes:
        network: VGG11-bn as figure 3 has it.
        displacements: true rms, in pixels; the published one, its half and its twice are always among them.
        cutoffs: highest modes; 3, the published, is always among them.
        images: test images.
        pixels: per side, of the images.
    """

    network: VGG
    displacements: tuple[float, ...]
    cutoffs: tuple[int, ...]
    images: int
    pixels: int = 32


def _runs(settings: Amplitude, sources: Sources) -> dict[str, Job]:
    network = vgg(settings.network, sources, settings.network.seeds[0])
    job = measured(
        network,
        displacement=sorted({*settings.displacements, *DISPLACEMENTS}),
        cutoff=sorted({*settings.cutoffs, 3}),
        images=settings.images,
        layers=["output"],
    )
    return {"vgg11_bn": network, "measured": job}


def _tables(settings: Amplitude, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    import pandas as pd

    if "measured" not in found:
        return {}
    rows = read_tables(found["measured"], ("measurement",))["measurement"]
    rows = rows[rows["kind"] == "output"].reset_index(drop=True)
    rows.insert(0, "network", [_label(row) for row in rows[["variant", "batch_norm"]].to_dict("records")])
    sizes = sorted(set(rows["displacement"]))
    folded = {cutoff: _folded(sizes, cutoff, settings.pixels) for cutoff in sorted(set(rows["cutoff"]))}
    trained = rows[rows["variant"] == "trained"].assign(seed=0)
    contrasts = []
    for rule in _RULES:
        initial = rows[(rows["variant"] == "initial") & (rows["batch_norm"] == rule)].assign(seed=0)
        for cutoff in sorted(set(rows["cutoff"])):
            pair = [each[each["cutoff"] == cutoff] for each in (trained, initial)]
            for each in log_ratios(pair[0], pair[1], "R"):
                size = float(each.displacement or math.nan)
                contrasts.append(
                    {
                        "batch_norm": rule, "displacement": size, "cutoff": cutoff, "log_ratio": each.value,
                        "low": each.low, "high": each.high, "folded": folded[cutoff][size],
                    }
                )  # fmt: skip
    return {"outputs": rows, "contrasts": pd.DataFrame(contrasts)}


def _label(row: Mapping[Any, Any]) -> str:
    return "trained" if row["variant"] == "trained" else f"initial, {_RULES[row['batch_norm']]}"


def _folded(displacements: Sequence[float], cutoff: int, pixels: int) -> dict[float, float]:
    """Return the share of deformations that fold somewhere, by displacement; of the same fields, made larger."""
    generator = torch.Generator().manual_seed(0)
    unit = Diffeomorphism(1.0, cutoff, fold="ignore").sample(_FIELDS, (pixels, pixels), generator=generator)
    return {size: float((least_jacobian(size * unit) <= 0).double().mean()) for size in displacements}


def _panels(tables: Tables) -> list[Panel]:
    if "contrasts" not in tables:
        return []
    marked = [(PUBLISHED, 3), *((size, 3) for size in DISPLACEMENTS if size != PUBLISHED)]
    panels = _maps(tables, marked)
    for rule, words in _RULES.items():
        rows = tables["contrasts"][tables["contrasts"]["batch_norm"] == rule]
        panels.append(
            Panel(
                f"phases-{rule}",
                f"R of the trained VGG11-bn over that of the initial one ({words} before training), output. Blue: the "
                "trained network is the more invariant; orange: the initial one; hatched: no significant difference "
                "(95 % over images); crossed: more than 1 % of the deformations fold. Framed: the published "
                "displacement, its half and its twice.",
                (6.4, 3.9),
                lambda ax, rows=rows: plot_phases(rows, marked=marked, ax=ax),  # type: ignore[misc]
            )
        )
    outputs = tables["outputs"]
    cut = outputs[outputs["cutoff"] == 3]
    panels.append(
        Panel(
            "cut",
            "R of the output against the displacement at cutoff 3; bands: 95 % over images, one training seed. Dotted: "
            "the published displacement, its half and its twice.",
            (5.2, 4.2),
            lambda ax: plot_cuts(cut, marked=DISPLACEMENTS, ax=ax),
        )
    )
    return panels


def _maps(tables: Tables, marked: Sequence[tuple[float, int]]) -> list[Panel]:
    """Return the phase diagram, and maps of D, G and R; none where there is one cutoff alone."""
    contrasts, outputs = tables["contrasts"], tables["outputs"]
    if contrasts["cutoff"].nunique() < 2:
        return []
    titles = {"batch": "Before training: batch statistics", "eval": "Before training: running statistics"}
    maps = {title: contrasts[contrasts["batch_norm"] == rule] for rule, title in titles.items()}
    cut = outputs[outputs["cutoff"] == 3]
    networks = {str(name): rows for name, rows in outputs.groupby("network", sort=False)}
    return [
        Panel(
            "phase-diagram",
            "Whether training makes VGG11-bn less sensitive to deformations, relative to noise, depends on the "
            "deformation and on how batch norm works before training. Blue: training lowers R of the output; orange: "
            "it raises R; thick line: no change. Star: the published deformation; diamonds: its half and its twice. "
            "Dots: measured, filled where the 95 % interval over images does not hold 1 (hatched where it does); "
            "logarithms are interpolated between them. Dotted ground: more than 1 % of the deformations fold. Right: "
            "a cut through both maps; bands: 95 % over images, one training seed.",
            (12.6, 4.8),
            lambda ax: plot_phase_diagram(maps, cut, marked=marked, ax=ax),
            alt="Two maps of R trained over R initial against displacement and cutoff, and R against displacement.",
            layout="wide",
        ),
        Panel(
            "D-G-R",
            "D, G and R of the output over displacement and cutoff: trained, and before training with running and with "
            "batch statistics. Each row has one scale; the line is R = 1.",
            (9.6, 7.6),
            lambda ax: plot_amplitude_maps(networks, ax=ax),
            alt="Nine maps: D, G and R of three networks against displacement and cutoff.",
            layout="wide",
        ),
    ]


def _words(tables: Tables) -> Sequence[str]:
    if "contrasts" not in tables:
        return []
    said = []
    for rule, words in _RULES.items():
        rows = tables["contrasts"]
        rows = rows[(rows["batch_norm"] == rule) & (rows["cutoff"] == 3)].sort_values("displacement")
        below = [f"{each:g}" for each in rows.loc[rows["high"] < 0, "displacement"]]
        above = [f"{each:g}" for each in rows.loc[rows["low"] > 0, "displacement"]]
        said.append(
            f"At cutoff 3, with {words} before training, R of the trained network is significantly below that of the "
            f"initial one at {', '.join(below) or 'no displacement'} px, and above it at {', '.join(above) or 'none'}."
        )
    ratios = np.exp(tables["contrasts"]["log_ratio"])
    said.append(f"Over all cells the ratio goes from {ratios.min():.2f} to {ratios.max():.2f}.")
    return said


STUDY = Study(
    name="amplitude",
    title="Whether training lowers R depends on the deformation",
    source="",
    shows="R of a trained network over R of the same network before training, for deformations of every size and "
    "smoothness: which of the two is the more invariant depends on both, and on how batch norm works before training.",
    scales={
        "smoke": Amplitude(network=VGGS["smoke"], displacements=(), cutoffs=(2,), images=30),
        "laptop": Amplitude(
            network=VGGS["laptop"], displacements=(0.2, 1.2, 2.4), cutoffs=(1, 2, 5, 8), images=200
        ),
        "paper": Amplitude(
            network=VGGS["paper"], displacements=(0.1, 0.2, 0.3, 0.6, 1.2, 2.4, 3.2), cutoffs=(1, 2, 4, 5, 8, 12),
            images=1000,
        ),
    },
    runs=_runs,
    tables=_tables,
    panels=_panels,
    words=_words,
)
