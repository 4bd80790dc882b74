"""Figure C6 and the ImageNet parts of figures 3, 4, C4, C5 and C7: networks that torchvision publishes weights of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from poolscope.report import Panel, plot_frequency, plot_quantity
from poolscope.report.choose import records
from poolscope.studies.reproduce.catalogue.along import slope
from poolscope.studies.reproduce.catalogue.filters import panels_of
from poolscope.studies.reproduce.catalogue.reading import below_each_other
from poolscope.studies.reproduce.claim import AMPLITUDES, PUBLISHED, Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import NotRun, Settings, Sources, Study, Tables
from poolscope.studies.reproduce.work.data import exists
from poolscope.studies.reproduce.work.pretrained import SIDE, pretrained, weights_file

if TYPE_CHECKING:
    import pandas as pd

_IMAGES = (
    "the 50,000 validation images of ILSVRC 2012 come from https://image-net.org (Download; after registration): name "
    "their folder with --imagenet imagefolder:DIR, or Parquet files of them with --imagenet parquet:DIR"
)
_LENET = "LeNet, which figure C4 shows on ImageNet too, has no ImageNet weights anywhere."
_PIXELS = 32  # a side of CIFAR-10's images, in whose pixels displacements are told
_ENDING = "-pretrained"


class FigureC6(Settings):
    """Pretrained networks.

    Attributes:
        networks: of torchvision; claims are about those whose name begins with "vgg".
        weights: which of torchvision's.
        images: so many photographs, evenly spread over those there are.
        shuffles: of channels.
        displacement: true rms, in pixels if the images had 32 a side: a field is scaled with the image.
    """

    networks: tuple[str, ...] = Field(default=("vgg11", "vgg11_bn", "vgg16_bn", "alexnet"), min_length=1)
    weights: str = "IMAGENET1K_V1"
    images: int = Field(ge=2)
    shuffles: int = Field(ge=2)
    displacement: tuple[float, ...] = Field(default=AMPLITUDES, min_length=1)


def _runs(settings: FigureC6, sources: Sources) -> dict[str, Job]:
    lacking = []
    path = (sources.imagenet or "").partition(":")[2] or sources.imagenet
    if path is None or not exists(path):
        where = "no option names their folder" if path is None else f"there is no {path}"
        lacking.append(f"photographs of ImageNet are missing, {where}; {_IMAGES}.")
    files = {name: weights_file(name, settings.weights) for name in settings.networks}
    at_hand = [name for name, file in files.items() if file.there or sources.download]
    if not at_hand:
        lacking.append(f"No network's weights are there: {_lacking(files, settings.weights)}; --download fetches them.")
    if lacking:
        raise NotRun(" ".join([*lacking, _LENET]))
    return {
        f"{name}{_ENDING}": pretrained(
            name,
            sources,
            weights=settings.weights,
            displacement=[each * SIDE / _PIXELS for each in settings.displacement],
            images=settings.images,
            draws=settings.shuffles,
        )
        for name in at_hand
    }


def _lacking(names: Iterable[str], weights: str) -> str:
    """Say which files are missing, where they belong, and where they come from."""
    files = [weights_file(name, weights) for name in names]
    folder = str(files[0].path.parent).replace(str(Path.home()), "~", 1)
    address = files[0].url.rpartition("/")[0]  # that of all of torchvision's
    return f"{', '.join(file.path.name for file in files)} in {folder}, from {address}"


def _tables(settings: FigureC6, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    import pandas as pd

    names = ("measurement", "shares", "contrasts", "spectrum", "frequency", "weights")
    tables = below_each_other(found, _ENDING, names)
    for name in ("measurement", "shares", "contrasts"):
        if name in tables:
            tables[name]["pixels"] = tables[name]["displacement"]
            tables[name]["displacement"] *= _PIXELS / SIDE
    missing = [name for name in settings.networks if f"{name}{_ENDING}" not in found]
    rows = [{"network": name, "why": _why(name, settings.weights)} for name in missing]
    return {**tables, "missing": pd.DataFrame(rows, columns=["network", "why"])}


def _why(name: str, weights: str) -> str:
    if weights_file(name, weights).there:
        return "its run did not end well"
    return f"its weights are missing, {_lacking([name], weights)}; --download fetches them"


def _panels(tables: Tables) -> list[Panel]:
    if "measurement" not in tables:
        return []
    panels = []
    rows = tables["measurement"]
    for network, every in rows.groupby("network", sort=False):
        for displacement, own in every.groupby("displacement"):
            wanted = "DGR" if np.isclose(displacement, PUBLISHED) else "R"  # type: ignore[arg-type]
            for quantity in wanted:
                panels.append(
                    Panel(
                        f"{network}-{quantity}-{displacement:.3g}px",
                        f"{quantity} along {network} with ImageNet weights, {own['images'].iloc[0]} photographs of "
                        f"{SIDE} pixels a side, displaced by {own['pixels'].iloc[0]:.3g} pixels ({displacement:.3g} if "
                        f"they had {_PIXELS}; true rms, cutoff 3). Dashed: shuffled channels, thin lines each shuffle. "
                        "Bands: 95 % over images.",
                        (4.6, 3.9),
                        lambda ax, own=own, quantity=quantity: plot_quantity(own, quantity, ax=ax),  # type: ignore[misc]
                    )
                )
    if "spectrum" in tables:
        spectrum = tables["spectrum"].assign(model=tables["spectrum"]["network"])
        caption = (
            "Mean frequency of each layer's filters with ImageNet weights (figure C5, middle): 1 is white, below 1 "
            "low-pass. Dotted: untrained networks."
        )
        panels.append(Panel("frequency", caption, (5.2, 4.2), lambda ax: plot_frequency(spectrum, ax=ax)))
        panels += panels_of(tables["spectrum"], "ImageNet weights of torchvision")
    return panels


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    if "measurement" not in tables:
        return {}
    falls: list[Estimate] = []
    low_pass: list[Estimate] = []
    for network in filter(_is_vgg, tables["weights"]["network"]):
        if network in _others(tables):
            nothing = Estimate(math.nan, math.nan, math.nan, None, network, "", "not the published weights")
            falls.append(nothing)
            low_pass.append(nothing)
            continue
        rows, frequency = (tables[name][tables[name]["network"] == network] for name in ("measurement", "frequency"))
        for size, own in rows[rows["variant"] == "given"].groupby("displacement"):
            note = f"{own['pixels'].iloc[0]:.3g} pixels of {SIDE}, told as if there were {_PIXELS}"
            falls.append(Estimate(*slope(own, "R"), size, network, "over images", note))
        low_pass += _low_pass(frequency)
    return {"imagenet-R-falls": falls, "imagenet-low-pass": low_pass}


def _low_pass(frequency: pd.DataFrame) -> list[Estimate]:
    """Return the mean frequency of every layer of a network but the first."""
    estimates = []
    for number, row in enumerate(records(frequency)[1:], start=2):
        value, reach = row["frequency"], 1.96 * row["frequency_se"]
        part = f"{row['network']}, layer {number}"
        interval = "over filters taken as independent"
        estimates.append(Estimate(value, value - reach, value + reach, None, part, interval))
    return estimates


def _is_vgg(network: str) -> bool:
    return network.startswith("vgg")


def _others(tables: Tables) -> list[str]:
    """Return the networks whose weights are not the published ones, by the hash in their files' names."""
    weights = tables["weights"]
    return list(weights[~weights["published"]]["network"])


def _words(tables: Tables) -> list[str]:
    words = [f"{row['network']} is not here: {row['why']}." for row in records(tables["missing"])]
    if "measurement" in tables:
        others = _others(tables)
        if others:
            words.append(
                f"The weights of {', '.join(others)} are not the published ones: their files have another hash than "
                "their names say. No claim is judged by them."
            )
        rows = tables["measurement"]
        rows = rows[(rows["variant"] == "given") & np.isclose(rows["displacement"], PUBLISHED)]
        for network in rows["network"].unique():
            if not _is_vgg(network) and network not in others:
                value, low, high = slope(rows[rows["network"] == network], "R")
                words.append(
                    f"{network}, of which figure C4 says what figure 3 says of the VGGs: the slope of log R against "
                    f"depth is {value:.2f} ({low:.2f} to {high:.2f})."
                )
    return [*words, _LENET]


STUDY = Study(
    name="figC6",
    title="Networks trained on ImageNet",
    source="Figures C6, 3 (right), 4 (middle), C4, C5 and C7 (ImageNet)",
    shows="D, G and R along networks with torchvision's ImageNet weights, the same with shuffled channels, and the "
    "spatial frequencies of their filters. The paper does not say how far it displaces photographs: here as far as "
    "CIFAR-10's, as a part of the image's side.",
    scales={
        "smoke": FigureC6(networks=("vgg11", "alexnet"), images=4, shuffles=2, displacement=(PUBLISHED,)),
        "laptop": FigureC6(images=50, shuffles=2),
        "paper": FigureC6(images=500, shuffles=4),
    },
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
    words=_words,
)
