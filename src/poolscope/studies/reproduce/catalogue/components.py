"""Which part of a smooth deformation is lost where: its affine parts, the rest, and the blur of resampling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import Field

from poolscope.perturb.residual import component_shares
from poolscope.report import Panel, plot_grids, plot_parts, plot_parts_at_output
from poolscope.sensitivity import read_result
from poolscope.studies.reproduce.catalogue.networks import DISPLACEMENTS, VGG, VGGS, vgg
from poolscope.studies.reproduce.claim import PUBLISHED
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import Scale, Settings, Sources, Study, Tables
from poolscope.studies.reproduce.work.components import component, components
from poolscope.training.averages import average_over_seeds

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_PARTS = ("smooth", "residual", "translation", "whole pixels", "rotation", "scaling", "shear", "blur")
_KEYS = (
    "component", "variant", "batch_norm", "displacement", "cutoff", "fold_share", "layer", "kind", "position", "depth",
)  # fmt: skip
_SHOWN = 1.8  # pixels, in the picture of the parts


class Components(Settings):
    """VGG11-bn under the parts of a deformation.

    Attributes:
        network: VGG11-bn as figure 3 has it.
        parts: names of `poolscope.studies.reproduce.work.components.component`.
        displacement: true rms of every part, in pixels.
        cutoff: highest mode of the smooth field.
        images: test images.
    """

    network: VGG
    parts: tuple[str, ...] = _PARTS
    displacement: tuple[float, ...] = Field(default=DISPLACEMENTS, min_length=1)
    cutoff: int = Field(default=3, ge=1)
    images: int = Field(ge=2)


_SETTINGS: dict[Scale, Components] = {
    "smoke": Components(network=VGGS["smoke"], displacement=(PUBLISHED,), images=30),
    "laptop": Components(network=VGGS["laptop"], images=200),
    "paper": Components(network=VGGS["paper"], images=500),
}


def _runs(settings: Components, sources: Sources) -> dict[str, Job]:
    found = {}
    for seed in settings.network.seeds:
        name = f"vgg11_bn/{seed}"
        found[name] = vgg(settings.network, sources, seed)
        found[f"{name}-parts"] = components(
            found[name],
            components=settings.parts,
            displacement=settings.displacement,
            cutoff=settings.cutoff,
            images=settings.images,
        )
    return found


def _tables(settings: Components, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    import pandas as pd

    results = [read_result(found[name] / "measurement.parquet") for name in found if name.endswith("-parts")]
    if not results:
        return {}
    averages = average_over_seeds(pd.concat([result.table for result in results]), _KEYS)
    tables = {"averages": averages, "outputs": averages[averages["kind"] == "output"].reset_index(drop=True)}
    height, width = results[0].record["size"]
    if height == width:  # on other images rotation and shear are not orthogonal
        shares = component_shares(height, settings.cutoff)
        rows = [{"component": name, "share": share, "cutoff": settings.cutoff} for name, share in shares.items()]
        tables = {"shares": pd.DataFrame(rows), **tables}
    return tables


def _panels(tables: Tables) -> list[Panel]:
    if "averages" not in tables:
        return []
    averages, outputs = tables["averages"], tables["outputs"]
    named = list(dict.fromkeys(averages["component"]))
    cutoff = int(averages["cutoff"].iloc[0])
    seeds = int(averages["seeds"].max())
    over = "over images, one training seed" if seeds == 1 else f"over {seeds} seeds"
    panels = [
        Panel(
            "parts",
            f"The parts, on a grid of 32 x 32 pixels: one draw of each, scaled to {_SHOWN:g} px rms over the pixels. "
            "Residual: the smooth deformation less its best affine fit, enlarged; it need not vanish on the frame.",
            (7.4, 4.4),
            lambda ax: plot_grids(_fields(named, cutoff), ax=ax),
            alt="Square grids, each deformed by one of the parts.",
            layout="wide",
        )
    ]
    near = min(sorted(set(averages["displacement"])), key=lambda each: abs(math.log(each / PUBLISHED)))
    for displacement in sorted(set(averages["displacement"])):
        at_output = outputs[outputs["displacement"] == displacement]
        for quantity in "RDG" if displacement == near else "R":
            panels.append(
                Panel(
                    f"output-{quantity}-{displacement:g}px",
                    f"{quantity} of the output under each part, {displacement:g} px rms (the blur: of the smooth "
                    "field of that size, nothing displaced). The noise is matched to each part's own |τx - x|. Bars: "
                    f"95 % {over}.",
                    (5.2, 4.2),
                    partial(_draw_output, at_output, quantity, displacement),
                )
            )
    rows = averages[averages["displacement"] == near]
    for (variant, rule), own in rows.groupby(["variant", "batch_norm"], sort=False):
        words = "trained" if variant == "trained" else f"initial, {'running' if rule == 'eval' else 'batch'} statistics"
        for quantity in "RDG" if variant == "trained" else "R":
            panels.append(
                Panel(
                    f"depth-{variant}-{rule}-{quantity}",
                    f"{quantity} along VGG11-bn ({words}) under each part, {near:g} px. Bands: 95 % {over}.",
                    (5.2, 4.8),
                    partial(_draw_depth, own, quantity, words),
                )
            )
    return panels


def _fields(names: Sequence[str], cutoff: int) -> dict[str, torch.Tensor]:
    """Return one field of each part that displaces by more or less than whole pixels, scaled to one rms."""
    found = {}
    for name in names:
        if name not in ("blur", "whole pixels"):
            field = component(name, _SHOWN, cutoff).sample(1, (32, 32), generator=torch.Generator().manual_seed(5))[0]
            found[name] = field * (_SHOWN / float(field.square().sum(dim=0).mean().sqrt()))
    return found


def _draw_output(rows: pd.DataFrame, quantity: str, displacement: float, ax: Axes) -> None:
    plot_parts_at_output(rows, quantity, ax=ax)
    ax.set_title(f"{quantity} of the output, {displacement:g} px", loc="left")


def _draw_depth(rows: pd.DataFrame, quantity: str, network: str, ax: Axes) -> None:
    plot_parts(rows, quantity, ax=ax)
    ax.set_title(f"{quantity}, {network}", loc="left")


def _words(tables: Tables) -> Sequence[str]:
    if "averages" not in tables:
        return []
    said = []
    if "shares" in tables:
        parts = [f"{row['share']:.0%} {row['component']}" for row in tables["shares"].to_dict("records")]
        cutoff = int(tables["shares"]["cutoff"].iloc[0])
        said.append(f"The mean square of a smooth field of cutoff {cutoff} is {', '.join(parts)}.")
    outputs = tables["outputs"]
    trained = outputs[outputs["variant"] == "trained"]
    for displacement, rows in trained.groupby("displacement"):
        values = rows.set_index("component")["R"]
        order = values.drop(index="blur", errors="ignore").sort_values()
        listed = ", ".join(f"{name} {R:.2f}" for name, R in order.items())
        said.append(f"R of the trained output at {displacement:g} px: {listed}.")
    said += _blurred(trained)
    return said


def _blurred(trained: pd.DataFrame) -> list[str]:
    """Say how much of D is the blur of resampling alone."""
    said = []
    for displacement, rows in trained.groupby("displacement"):
        D = rows.set_index("component")["D"]
        if {"blur", "smooth"} <= set(D.index):
            said.append(
                f"At {displacement:g} px the blur of resampling alone moves the trained output by D = {D['blur']:.2g}, "
                f"{D['blur'] / D['smooth']:.0%} of what the smooth deformation does"
                + (
                    f"; translations by whole pixels, which blur nothing, by {D['whole pixels']:.2g}, beside "
                    f"{D['translation']:.2g} of interpolated ones of the same rms."
                    if {"whole pixels", "translation"} <= set(D.index)
                    else "."
                )
            )
    return said


STUDY = Study(
    name="components",
    title="Which part of a deformation is lost where",
    source="",
    shows="A smooth deformation is a translation, a rotation, a scaling, a shear, and a rest; and resampling blurs. "
    "D, G and R along VGG11-bn, trained and initial, under each alone, of the same rms displacement.",
    scales=_SETTINGS,
    runs=_runs,
    tables=_tables,
    panels=_panels,
    words=_words,
)
