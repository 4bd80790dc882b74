"""The theory of section 4 without a network: exact D, G and R, the laws beside them, and where the two agree."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from poolscope import theory
from poolscope.perturb.pixel_shift import Moves
from poolscope.report import Panel, Section, Table, save_panels, write_page
from poolscope.report.said.theory import what_learned_filters_do, where_laws_hold, where_predictions_go
from poolscope.report.theory import CURVES, plot_filters, plot_predictions, plot_profiles, plot_ratios
from poolscope.sensitivity import Result
from poolscope.studies.mean_filters import MeanFilters
from poolscope.theory.separations import Boundary

if TYPE_CHECKING:
    import pandas as pd

#: Sizes of section 4.3. Where windows do not overlap, filters are as long as the stride, down to a single pixel.
_PAPER: dict[int, dict[str, Any]] = {
    1: {"length": 32, "scale": 11, "gap": 4.0, "filter_size": 3, "stride": 1},
    2: {"length": 128, "scale": 32, "gap": 0.0, "filter_size": 2, "stride": 2},
}
_DEPTH = 12  # at stride 1
_HOMOGENEOUS = "homogeneous filters"
_LEARNED = "learned mean filters"
_NUMBERS = ("k", "A", "D", "D_law", "G_rectified", "G_law", "G_relu", "G_linear", "R", "R_law", "note")


@dataclass
class Predictions:
    """Exact predictions for one task and network.

    Attributes:
        sizes: arguments of ``theory.predict``.
        table: its table for homogeneous filters, with the laws' ``D_law``, ``G_law``, ``G_relu_law``, ``G_linear_law``,
            ``R_law``; below, where learned mean filters are given, theirs, of which nan are the laws. The column
            ``filters`` says which.
        ratios: exact values over the laws, homogeneous filters: ``k``, ``D``, ``G``, ``R``.
        within: layers at which these are within 10 % of 1.
        holds_from: layer from which they are on an image that is large enough; None: not within 500 (stride F: 30).
        learned: the mean filters, or None.
    """

    sizes: dict[str, Any]
    table: pd.DataFrame
    ratios: pd.DataFrame
    within: dict[str, list[int]]
    holds_from: dict[str, int | None]
    learned: MeanFilters | None

    @property
    def homogeneous(self) -> pd.DataFrame:
        """The table's rows of homogeneous filters."""
        return self.table[self.table["filters"] == _HOMOGENEOUS]

    @property
    def of_learned(self) -> pd.DataFrame | None:
        """The table's rows of learned mean filters, if there are any."""
        return None if self.learned is None else self.table[self.table["filters"] == _LEARNED]

    @property
    def title(self) -> str:
        """Task and network in a line."""
        sizes = self.sizes
        gap = f", gap {sizes['gap']:g}" if sizes["task"] == 1 else ""
        return (
            f"task {sizes['task']} in {sizes['dim']}D (length {sizes['length']}, scale {sizes['scale']}{gap}); filters "
            f"of {sizes['filter_size']}, stride {sizes['stride']}, {sizes['depth']} layers"
        )

    def columns(self, table: pd.DataFrame) -> list[str]:
        """Return the columns to be shown: those that hold anything, without (4), (6) and the ring's width."""
        return [name for name in _NUMBERS if table[name].notna().any() and (name != "note" or table[name].any())]

    def summary(self) -> list[tuple[str, list[str]]]:
        """Say in plain words what comes out: topics, and their sentences."""
        found = [
            ("In short", where_predictions_go(self.homogeneous)),
            ("The laws", where_laws_hold(self.sizes, self.within, self.holds_from)),
        ]
        if self.learned is not None and self.of_learned is not None:
            said = what_learned_filters_do(self.homogeneous, self.of_learned, self.learned.left_out)
            found.append(("Learned filters", said))
        return found

    def save(self, folder: Path, record: dict[str, Any]) -> list[Path]:
        """Write ``theory.parquet``, figures (PNG and PDF) and ``report.html``; return their paths.

        Args:
            folder: an existing folder.
            record: how it was made.
        """
        record = {**record, **self.sizes}
        panels = _panels(self)
        words = "Rectified noise, plain noise into the ReLU network, plain noise into the linear one: G rectified, G "
        words += "relu, G linear. R = D / G rectified. Laws and all other columns are in the CSV file."
        tables = [Table("Exact values and laws", self.homogeneous, self.columns(self.homogeneous), words)]
        if self.of_learned is not None:
            tables.append(Table("Learned mean filters", self.of_learned, self.columns(self.of_learned)))
        sections = [Section("Layer by layer", panels=[panel for panel in panels if panel.section == ""])]
        own = [panel for panel in panels if panel.section]
        if own:
            sections.append(Section("Learned mean filters", panels=own))
        return [
            Result(self.table, record).save(folder / "theory.parquet"),
            *save_panels(panels, folder),
            write_page(
                folder / "report.html",
                "What theory predicts for scale detection",
                subtitle=self.title,
                summary=self.summary(),
                sections=[*sections, Section("The numbers", tables=tables)],
                record=record,
            ),
        ]


def run(
    task: int = 1,
    *,
    length: int | None = None,
    scale: int | None = None,
    gap: float | None = None,
    filter_size: int | None = None,
    stride: int | None = None,
    depth: int | None = None,
    dim: int | None = None,
    moves: Moves = "left-right",
    boundary: Boundary | None = None,
    learned: MeanFilters | None = None,
) -> Predictions:
    """Predict D, G and R of scale detection, layer by layer, for homogeneous and, if given, learned mean filters.

    Args:
        task: 1 or 2.
        length, scale, gap, filter_size, stride: None: those of section 4.3 (task 1: 32, 11, 4, 3, 1; task 2: 128, 32,
            no gap, 2, 2; a filter size of your own is task 2's stride too).
        depth: None: all layers of learned filters, else 12 at stride 1 and, at stride F, down to a single pixel.
        dim: 1 (default) or 2.
        moves, boundary: as for ``theory.predict``.
        learned: mean filters of a network, which say filter size, stride and dimension.

    Raises:
        ValueError: no such task or network; sizes of the network that are not those of the learned filters.
    """
    import pandas as pd

    if task not in _PAPER:
        raise ValueError(f"task must be 1 or 2; got {task!r}")
    if learned is not None:
        filter_size, stride, dim = (
            _agreed(name, given, of_network)
            for name, given, of_network in (
                ("filter size", filter_size, learned.filter_size),
                ("stride", stride, learned.stride),
                ("dimension", dim, learned.dim),
            )
        )
        depth = len(learned.taps) if depth is None else depth
    given: dict[str, Any] = {"length": length, "scale": scale, "gap": gap, "filter_size": filter_size, "stride": stride}
    if stride is None and task == 2:
        given["stride"] = filter_size
    sizes: dict[str, Any] = {"task": task}
    sizes |= {name: _PAPER[task][name] if value is None else value for name, value in given.items()}
    sizes |= {"dim": 1 if dim is None else dim, "moves": moves, "boundary": boundary}
    sizes["depth"] = _deepest(sizes["length"], sizes["stride"]) if depth is None else depth
    geometry = (sizes["filter_size"], sizes["stride"])
    law = theory.laws(*geometry, sizes["depth"], dim=sizes["dim"])
    exact = theory.predict(**sizes)
    beside = {f"{name}_law": law[name] for name in ("D", "G", "G_relu", "R")}
    tables = [exact.assign(**beside, G_linear_law=1.0, filters=_HOMOGENEOUS)]
    if learned is not None:
        predicted = theory.predict(**sizes, filters=learned.taps)
        tables.append(predicted.assign(**dict.fromkeys(beside, np.nan), G_linear_law=np.nan, filters=_LEARNED))
    ratios = theory.ratios_to_laws(exact, law)
    return Predictions(
        sizes,
        pd.concat(tables, ignore_index=True),
        ratios,
        theory.depths_within(ratios),
        theory.holds_from(*geometry, dim=sizes["dim"]),
        learned,
    )


def _agreed(name: str, given: int | None, of_network: int) -> int:
    if given is not None and given != of_network:
        raise ValueError(f"{name} must be that of the learned filters, {of_network}, or left out; got {given}")
    return of_network


def _deepest(length: int, stride: int) -> int:
    """Return 12 at stride 1, else how many times the stride divides the length, at least once."""
    if stride < 2:
        return _DEPTH
    depth = 0
    while length > 0 and length % stride ** (depth + 1) == 0:
        depth += 1
    return max(1, depth)


def profiles(length: int, filter_size: int, layers: list[int]) -> pd.DataFrame:
    """Return M^k δ on the ring beside the Gaussians of proposition 1, stride 1, for ``plot_profiles``.

    In two dimensions the sum over the other axis is the same. Even filters' windows reach further to the right here
    than to the left; the printed Gaussian, made for windows the other way round, is its mirror image.

    Args:
        length: L, pixels of the ring.
        filter_size: F.
        layers: which k.
    """
    import pandas as pd

    responses = theory.propagate(length, filter_size, 1, max(layers), pixel=length // 2)
    steps = 8  # points a pixel at which Gaussians are drawn
    parts = []
    for k in layers:
        offsets = np.arange(-(length // 2) * steps, (length - length // 2 - 1) * steps + 1) / steps
        exact = np.full(len(offsets), np.nan)
        exact[::steps] = responses[k - 1]
        true, printed = (
            theory.gaussian_profile(offsets, k, filter_size),
            theory.gaussian_profile(-offsets, k, filter_size, "printed"),
        )
        parts.append(pd.DataFrame({"k": k, "offset": offsets, "exact": exact, "true": true, "printed": printed}))
    found = pd.concat(parts, ignore_index=True)
    shown = found[(found["exact"] > 1e-4) | (found["true"] > 1e-4) | (found["printed"] > 1e-4)]
    return found[found["offset"].between(shown["offset"].min(), shown["offset"].max())]


_CAPTIONS = {
    "D": "D, how far a move of each active pixel by one takes the representation, against the distance of two inputs. "
    "Points: exact; dashed: its law.",
    "G": "G, how far noise of the same power takes it: noise that was rectified before it is added (as in the paper), "
    "plain noise into a ReLU network, and into a linear one. Dashed: their laws.",
    "R": "R = D / G with rectified noise. It has no distance of two inputs in it, through which a finite image raises "
    "both D and G. Dashed: its law.",
}


def _panels(found: Predictions) -> list[Panel]:
    sizes = found.sizes
    panels = [
        Panel(
            quantity,
            caption,
            (4.8, 4.2 if quantity == "G" else 3.9),
            partial(_draw_predictions, found.homogeneous, quantity),
            alt=f"Line chart of exact {quantity} and its law against the receptive field.",
        )
        for quantity, caption in _CAPTIONS.items()
    ]
    panels.append(
        Panel(
            "ratios",
            "Exact values over the laws, constants included: 1 where a law holds, the band where it holds to 10 %.",
            (4.8, 3.9),
            lambda ax: plot_ratios(found.ratios, ax=ax),
            alt="Line chart of exact D, G and R divided by their laws, layer by layer.",
        )
    )
    if sizes["stride"] == 1:
        depth = sizes["depth"]
        shown = profiles(sizes["length"], sizes["filter_size"], sorted({1, round(depth**0.5), depth}))
        axis = " (along one axis)" if sizes["dim"] > 1 else ""
        panels.append(
            Panel(
                "profiles",
                f"What one active pixel becomes after some layers of averaging{axis}, and the Gaussians that "
                "proposition 1 says it tends to: with the true width (solid), and with the one printed (dotted).",
                (4.8, 4.1),
                lambda ax: plot_profiles(shown, ax=ax),
                alt="Profile of one active pixel at some layers, with two Gaussians each.",
            )
        )
    if found.of_learned is not None:
        panels += [
            Panel(
                f"{quantity}-filters",
                f"Exact {quantity}{' (rectified noise)' if quantity == 'G' else ''} of a one-channel network with the "
                "learned mean filters, and with homogeneous ones. A line ends where the theory has no number.",
                (4.8, 3.7),
                partial(_draw_filters, found.table, quantity),
                alt=f"Line chart of {quantity} by layer for learned mean filters and homogeneous ones.",
                section="filters",
            )
            for quantity in _CAPTIONS
            if found.of_learned[CURVES[quantity][0][0]].notna().any()
        ]
    return panels


def _draw_predictions(table: pd.DataFrame, quantity: str, ax: Any) -> None:
    plot_predictions(table, quantity, ax=ax)


def _draw_filters(table: pd.DataFrame, quantity: str, ax: Any) -> None:
    plot_filters(table, quantity, ax=ax)
