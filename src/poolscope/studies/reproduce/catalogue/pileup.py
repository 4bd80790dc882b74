"""Beyond the paper: how much of the response to noise is the same whatever the noise, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from poolscope.report import Panel, plot_pileup
from poolscope.report.style import MARKERS, colours, house_style, legend_below, own_axes
from poolscope.studies.reproduce.catalogue.networks import SIMPLE_NETWORKS, VGG, VGGS, SimpleNetworks, vgg
from poolscope.studies.reproduce.catalogue.reading import read_tables
from poolscope.studies.reproduce.catalogue.simple_cnns import by_network, of_seeds, over_seeds, ratio
from poolscope.studies.reproduce.catalogue.simple_runs import (
    ACTIVATIONS,
    Which,
    how_training_ended,
    runs_of,
    seeds_in,
    side_by_side,
    tables_of,
    unmeasured,
)
from poolscope.studies.reproduce.claim import PUBLISHED, Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import SCALES, Settings, Sources, Study, Tables
from poolscope.studies.reproduce.work.pileup import pileup, simple_pileup
from poolscope.studies.scale_detection.run import average_shares

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_BOTH: tuple[Which, ...] = ("task1", "tanh")
_LAST = 7  # layer: the end of the first large part of the network


class Pileup(Settings):
    """Networks of figures 7, B2 and 3, and the noise they are looked at with.

    Attributes:
        simple: simple CNNs, with the noise that G is measured with.
        vgg: the deep network.
        displacement: true rms in pixels, of the deformations that the deep network's noise is matched to.
        images: of the deep network's test images.
        draws: of noise on each of them.
        small: norms of small noise on the simple CNNs' images, over the rms of |τx - x|; none to leave it out.
        small_draws: of small noise.
    """

    simple: SimpleNetworks
    vgg: VGG
    displacement: float = Field(default=PUBLISHED, gt=0)
    images: int = Field(ge=2)
    draws: int = Field(ge=2)
    small: tuple[float, ...] = ()
    small_draws: int = Field(default=16, ge=2)


_NEEDS: dict[str, tuple[Which, ...]] = {"noise-piles-up": ("task1",), "noise-cancels-with-tanh": _BOTH}


def _runs(settings: Pileup, sources: Sources) -> dict[str, Job]:
    found = runs_of(settings.simple, sources, _BOTH)
    if settings.small:
        for which in _BOTH:
            found[f"{which}-small"] = simple_pileup(found[which], magnitudes=settings.small, draws=settings.small_draws)
    found["vgg11_bn"] = vgg(settings.vgg, sources, settings.vgg.seeds[0])
    found["vgg11_bn-pileup"] = pileup(
        found["vgg11_bn"], displacement=settings.displacement, images=settings.images, draws=settings.draws
    )
    return found


def _tables(settings: Pileup, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    import pandas as pd

    tables = tables_of(found, _BOTH, ("pileup",))
    simple = side_by_side(tables, "pileup", _BOTH)
    made = {name: table for name, table in tables.items() if name.endswith("_outcomes")}
    if simple is not None:
        made = {"shares": average_shares(simple), "simple": simple, **made}
    small = {
        which: read_tables(found[f"{which}-small"], ["pileup"]).get("pileup")
        for which in _BOTH
        if f"{which}-small" in found
    }
    there = [table.assign(model=ACTIVATIONS[which]) for which, table in small.items() if table is not None]
    if there:
        made["small"] = pd.concat(there, ignore_index=True)
    if "vgg11_bn-pileup" in found:
        made["vgg11_bn"] = read_tables(found["vgg11_bn-pileup"], ["pileup"])["pileup"]
    return made


def _panels(tables: Tables) -> list[Panel]:
    panels = []
    if "shares" in tables:
        shares = tables["shares"]
        panels.append(
            Panel(
                "simple",
                "Simple CNNs on task 1: share of each layer's response to plain noise that all draws of the noise have "
                "in common, noise as strong as the displacement of the pixels, as for G. Solid: trained; dotted: "
                "before training; dashed: the trained network without its activations, a linear map, whose share is 0. "
                f"Means over seeds ({seeds_in(shares)}), bands: 95 % over three or more seeds, over images with one. "
                "Grey: 0.",
                (5.2, 4.8),
                lambda ax: plot_pileup(shares, ax=ax),
                alt="Line chart of the coherent share by layer for ReLU and tanh networks.",
            )
        )
    if "small" in tables:
        panels.append(
            Panel(
                "small",
                "The same for trained networks and small noise, its norm in units of the displacement's; float64. "
                f"Means over seeds ({seeds_in(tables['small'], 'seed')}), bands: 95 % over seeds where there are "
                "several. Grey: 0.",
                (5.2, 4.6),
                lambda ax: _draw_small(tables["small"], ax),
                alt="Line chart of the coherent share of small noise by layer for ReLU and tanh networks.",
            )
        )
    if "vgg11_bn" in tables:
        deep = tables["vgg11_bn"]
        first = deep.iloc[0]
        panels.append(
            Panel(
                "vgg11_bn",
                "VGG11-bn on images: share of each layer's response to plain noise that all draws have in common; the "
                f"noise has the norm of a deformation of {first['displacement']:g} pixels (true rms). One training "
                f"seed, {first['images']} images, {first['draws']} draws, bands: 95 % over images. Solid: trained; "
                "dotted: before training. Grey: 0.",
                (5.2, 4.2),
                lambda ax: _draw_deep(deep, ax),
                alt="Line chart of the coherent share by layer of VGG11-bn, trained and initial.",
            )
        )
    return panels


def _draw_deep(table: pd.DataFrame, ax: Axes) -> None:
    plot_pileup(table[table["position"] > 0].rename(columns={"position": "k"}), ax=ax)
    ax.set_xlabel("activation, from the input (last: the output)")


def _draw_small(table: pd.DataFrame, ax: Axes) -> None:
    styles = ("-", "--", ":", "-.")
    with house_style():
        ax = own_axes(ax)
        ax.axhline(0, color="0.5", linewidth=0.9, zorder=0.5)
        for number, (model, rows) in enumerate(table.groupby("model", sort=False)):
            for order, (magnitude, own) in enumerate(rows.groupby("magnitude")):
                found = [(k, *over_seeds(group["share"])) for k, group in own.groupby("k")]
                k, mean, low, high = zip(*found, strict=True)
                colour = colours()[number]
                ax.plot(
                    k, mean, color=colour, linestyle=styles[order % len(styles)], marker=MARKERS[number], markersize=4,
                    linewidth=1.7, label=f"{model}, {magnitude:g} of the displacement",
                )  # fmt: skip
                ax.fill_between(k, low, high, color=colour, alpha=0.16, linewidth=0)
        ax.set_xlabel("layer k")
        ax.set_title("share common to all draws, small noise", loc="left")
        legend_below(ax)


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    found = unmeasured(tables, _NEEDS)
    if "simple" not in tables:
        return found
    trained = tables["simple"][tables["simple"]["variant"] == "trained"].assign(value=lambda rows: rows["share"])
    relu, tanh = (trained[trained["model"] == ACTIVATIONS[which]] for which in _BOTH)
    if relu.empty:
        return found
    initial = tables["simple"].query("variant == 'initial'").assign(value=lambda rows: rows["share"])
    before = by_network(initial[initial["model"] == ACTIVATIONS["task1"]], _growth)
    note = f"before training the same difference is {before.mean():.3f}"
    found["noise-piles-up"] = [of_seeds(by_network(relu, _growth), note=note)]
    if len(tanh):
        at = [by_network(rows, lambda share: float(share[_LAST])) for rows in (tanh, relu)]
        note = f"layer {_LAST}: tanh {at[0].mean():.3f}, ReLU {at[1].mean():.3f}, at the size of noise used for G"
        for magnitude, rows in tables["small"].groupby("magnitude") if "small" in tables else ():
            shares = rows[rows["k"] == _LAST].groupby("model")["share"].mean()
            if all(ACTIVATIONS[which] in shares for which in _BOTH):
                note += f"; at {magnitude:g} of it tanh {shares[ACTIVATIONS['tanh']]:.4f}, "
                note += f"ReLU {shares[ACTIVATIONS['task1']]:.4f}"
        words = f"Fieller, over {len(at[0])} and {len(at[1])} seeds"
        found["noise-cancels-with-tanh"] = [Estimate(*ratio(*at), None, "", words, note)]
    return found


def _growth(share: pd.Series) -> float:
    return float(share[_LAST] - share[1])


STUDY = Study(
    name="pileup",
    title="Noise that piles up",
    source="",
    shows="Of a layer's response to noise, spatial pooling averages out what differs from draw to draw; what all draws "
    "have in common stays and adds up. Behind ReLU there is such a common part, and the paper says that it makes deep "
    "networks sensitive to noise; behind an odd activation there should be none.",
    scales={
        scale: Pileup(
            simple=SIMPLE_NETWORKS[scale],
            vgg=VGGS[scale],
            **{  # type: ignore[arg-type]
                "smoke": {"images": 20, "draws": 2, "small": (0.1,), "small_draws": 2},
                "laptop": {"images": 100, "draws": 6, "small": (0.01, 0.1), "small_draws": 8},
                "paper": {"images": 500, "draws": 8, "small": (0.01, 0.1), "small_draws": 32},
            }[scale],
        )
        for scale in SCALES
    },
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
    words=lambda tables: how_training_ended(tables, _BOTH),
)
