"""Figure 6: what one or two active pixels become in layers of homogeneous filters; appendix A. No network is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, model_validator

from poolscope import theory
from poolscope.report import Panel
from poolscope.report.theory import plot_profiles
from poolscope.studies.reproduce.catalogue.propagation_pictures import plot_distances, plot_hidden_layers, plot_widths
from poolscope.studies.reproduce.catalogue.simple_cnns import row_where
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import SCALES, Settings, Sources, Study, Tables
from poolscope.studies.theory import profiles
from poolscope.theory.filters import layers
from poolscope.theory.propagation import responses

if TYPE_CHECKING:
    import pandas as pd

_DEPTH = 12  # of appendix A's network, task 1 of section 4.3
_SIZES = (3, 5)  # section 4.3's filters, and the figure's
_STRIDES = (2, 3)
_SEEN = 7  # layers of task 2's network


class Figure6(Settings):
    """What the pictures show; the numbers that claims are judged by do not depend on it.

    Attributes:
        length: pixels of the input, a multiple of 16.
        layers: of stride 1 in the picture.
        far: two active pixels, from 0, of the picture of stride 1.
        near: the same of the picture of stride 2.
    """

    length: int = Field(default=32, ge=16, multiple_of=16)
    layers: int = Field(default=6, ge=1)
    far: tuple[int, int] = (9, 21)
    near: tuple[int, int] = (10, 14)

    @model_validator(mode="after")
    def _inside(self) -> Figure6:
        for pixels in (self.far, self.near):
            if not all(0 <= pixel < self.length for pixel in pixels):
                raise ValueError(f"active pixels must be in 0 .. length - 1 = {self.length - 1}; got {pixels}")
        return self


def _runs(settings: Figure6, sources: Sources) -> dict[str, Job]:
    return {}


def _tables(settings: Figure6, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    import pandas as pd

    propositions = pd.concat(
        [theory.proposition_1(size, _DEPTH).assign(filter_size=size) for size in _SIZES], ignore_index=True
    )
    propositions.insert(0, "filter_size", propositions.pop("filter_size"))
    seen = pd.concat([_seen(stride) for stride in _STRIDES], ignore_index=True)
    return {
        "hidden_stride1": _hidden(settings.length, 5, 1, settings.layers, settings.far),
        "hidden_strideF": _hidden(settings.length, 2, 2, 4, settings.near),
        "widths": _widths(propositions, seen),
        "seen": seen,
        "profiles": profiles(64, 3, [1, 4, _DEPTH]),
        "proposition_1": propositions,
    }


def _hidden(length: int, filter_size: int, stride: int, depth: int, pixels: tuple[int, int]) -> pd.DataFrame:
    """Return what a network of ones holds for two active pixels: ``k``, ``start``, ``pixels``, ``value``, ``A``.

    Filters of ones count active pixels; at stride 1, where they count paths, values are over the layer's largest. A
    neuron stands at ``start`` and is ``pixels`` of the input wide.
    """
    import pandas as pd

    ones = np.ones(filter_size)
    seen = [
        theory.propagate(length, filter_size, stride, depth, filters=[ones] * depth, pixel=pixel) for pixel in pixels
    ]
    image = np.zeros(length)
    image[list(pixels)] = 1
    rows = []
    for k, values in enumerate([image, *(sum(each[1:], each[0]) for each in zip(*seen, strict=True))]):
        wide = stride**k
        field = float(wide) if stride > 1 else (k * (filter_size**2 - 1) / 12) ** 0.5
        shown = values / values.max() if stride == 1 else values
        parts = {"k": k, "start": np.arange(len(values)) * wide, "pixels": wide, "value": shown, "A": field}
        rows.append(pd.DataFrame(parts))
    return pd.concat(rows, ignore_index=True)


def _widths(propositions: pd.DataFrame, seen: pd.DataFrame) -> pd.DataFrame:
    """Return A_k: exact widths of M^k δ on an infinite line at stride 1, and F^k at stride F, with the law's."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for row in propositions.to_dict("records"):
        size, k = row["filter_size"], row["k"]
        rows.append(
            {
                "filter_size": size,
                "stride": 1,
                "k": k,
                "A": row["variance"] ** 0.5,
                "law": (k * (size**2 - 1) / 12) ** 0.5,
            }
        )
    for row in seen.to_dict("records"):
        size = row["filter_size"]
        rows.append({"filter_size": size, "stride": size, "k": row["k"], "A": row["most"], "law": row["law"]})
    return pd.DataFrame(rows)


def _seen(stride: int) -> pd.DataFrame:
    """Return how many input pixels a pixel of layer k sees at stride F, by sending each through the network."""
    import pandas as pd

    network = layers(stride, stride, _SEEN, None, 1)
    rows = []
    for k, reached in enumerate(responses(network, np.eye(stride**_SEEN)), start=1):
        counts = (reached > 0).sum(0)
        extremes = {"least": int(counts.min()), "most": int(counts.max())}
        rows.append({"filter_size": stride, "k": k, **extremes, "law": stride**k})
    return pd.DataFrame(rows)


def _panels(tables: Tables) -> list[Panel]:
    last = int(tables["hidden_stride1"]["k"].max())
    return [
        Panel(
            "stride1",
            "What a network of homogeneous filters (F = 5, stride 1) makes of two active pixels, input on top; each "
            f"layer over its largest value. Orange: the receptive field A of layer {last}, one standard deviation to "
            "either side of what the first pixel became. Exact; nothing is trained.",
            (5.2, 3.4),
            lambda ax: plot_hidden_layers(tables["hidden_stride1"], ax=ax),
            alt="Rows of pixels, one for each layer: two active pixels spread into two bells that merge.",
        ),
        Panel(
            "strideF",
            "The same at s = F = 2: a neuron's value is the number of active pixels in its receptive field, 0 (light), "
            "1 or 2 (darkest). Orange: the receptive field, F to the power k pixels, of the last layer. Exact; nothing "
            "is trained.",
            (5.2, 3.4),
            lambda ax: plot_hidden_layers(tables["hidden_strideF"], counts=True, ax=ax),
            alt="Rows of ever wider pixels, one for each layer; the two active pixels end in one neuron.",
        ),
        Panel(
            "widths",
            "Receptive field A by layer, both logarithmic: at stride 1 the standard deviation of what one pixel "
            "becomes, at stride F the number of input pixels that a neuron sees. Markers: counted or summed exactly; "
            "grey lines: √(k (F² − 1) / 12) and F to the power k.",
            (5.2, 4.2),
            lambda ax: plot_widths(tables["widths"], ax=ax),
            alt="Receptive fields against the layer: root k at stride 1, F to the power k at stride F.",
        ),
        Panel(
            "profiles",
            "What one active pixel becomes at F = 3 (markers), and the Gaussians of appendix A: with the true width "
            "(solid), and with that of equation (A.2) as printed (dotted), which has two thirds of the variance.",
            (5.2, 4.4),
            lambda ax: plot_profiles(tables["profiles"], ax=ax),
            alt="Profiles of one active pixel at three layers, with two Gaussians each.",
        ),
        Panel(
            "distances",
            "Total variation distance of what one pixel becomes from the Gaussian of appendix A: with the true "
            "variance, and as printed. Grey: 0.02, below which a Gaussian could not be told from it in a figure.",
            (5.2, 4.2),
            lambda ax: plot_distances(tables["proposition_1"], ax=ax),
            alt="Distances against the layer: falling to 0.007 with the true variance, above 0.1 as printed (F = 3).",
        ),
    ]


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    found: dict[str, list[Estimate]] = {}
    widths = tables["widths"]
    for size, rows in widths[widths["stride"] == 1].groupby("filter_size"):
        slope = float(np.polyfit(np.log(rows["k"]), np.log(rows["A"]), 1)[0])
        found.setdefault("A-grows-as-root-k", []).append(Estimate.exact(slope, part=f"F = {size}"))
    for size, rows in tables["seen"].groupby("filter_size"):
        least, most = float((rows["least"] / rows["law"]).min()), float((rows["most"] / rows["law"]).max())
        worst = max((least, most), key=lambda each: abs(each - 1))
        note = f"layers 1 to {rows['k'].max()}"
        part = f"F = {size}"
        found.setdefault("A-grows-as-F-to-k", []).append(Estimate(worst, least, most, None, part, "exact", note))
    at = row_where(tables["proposition_1"], filter_size=3, k=_DEPTH)
    variances = f"variance {at['variance']:.2f}, of (A.2) {at['variance_printed']:.2f}"
    found["gaussian-profile"] = [Estimate.exact(float(at["distance_printed"]), note=variances)]
    found["gaussian-limit"] = [Estimate.exact(float(at["distance_true"]), note=variances)]
    return found


def _words(tables: Tables) -> list[str]:
    last = row_where(tables["proposition_1"], filter_size=3, k=_DEPTH)
    return [
        f"After {_DEPTH} layers of three taps one pixel is a bell of variance {last['variance']:.2f} pixels², "
        f"{last['distance_true']:.4f} (total variation) from the Gaussian of that variance; equation (A.2) has "
        f"{last['variance_printed']:.2f} and is {last['distance_printed']:.3f} away.",
        "The exponents of the paper's laws need the width's growth alone, √k, which is exact.",
    ]


STUDY = Study(
    name="fig6",
    title="Receptive fields of homogeneous filters",
    source="Figure 6, appendix A",
    shows="Averaging at stride 1 is diffusion: an active pixel becomes a bell whose width grows as the root of the "
    "layer. At stride F each neuron counts the active pixels of its patch, which grows by F a layer. Nothing is "
    "trained here: all is computed.",
    scales={scale: Figure6() for scale in SCALES},
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
    words=_words,
)
