"""Scale detection and its displacement: inputs of both labels, moves of single pixels, and what these change."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from poolscope.perturb import PixelShift
from poolscope.perturb.pixel_shift import Edge, Moves, steps
from poolscope.report import Panel, Section, Table, save_panels, write_page
from poolscope.report.choose import number, records
from poolscope.report.task import Cell, Steps, inputs_size, plot_inputs
from poolscope.sensitivity import Result
from poolscope.tasks import ScaleDetection, format_name, parse

if TYPE_CHECKING:
    import pandas as pd

_EXAMPLES = 3  # of each label, and draws of each kind of moves
_COLUMNS = ("moves", "edge", "displacement", "flips", "flips_near", "flips_far", "gap", "meet", "power")


@dataclass
class Displaced:
    """A task under its moves.

    Attributes:
        task: whose inputs are moved.
        table: of `displacements`.
        rows: of the figures ``examples`` and ``moves``.
    """

    task: ScaleDetection
    table: pd.DataFrame
    rows: dict[str, list[tuple[str, list[Cell | Steps]]]]

    def summary(self) -> list[tuple[str, list[str]]]:
        """Say in plain words what moves do to labels: topics, and their sentences."""
        near, far = self.task.counts
        said = []
        for row in records(self.table):
            flips = f"flip {number(100 * row['flips'])} % of the labels" if row["flips"] else "flip no label"
            gap = f", and take {number(100 * row['gap'])} % of the pairs into the gap, where there is no label"
            said.append(
                f"{row['moves'].capitalize()} moves (rms displacement {number(row['displacement'])} px) {flips}"
                f"{gap if row['gap'] else ''}; |τx − x|² is {number(row['power'])} times |x|² on average."
            )
        return [
            ("The task", [f"{near} pairs of pixels have label +1, {far} have label −1."]),
            ("Its moves", said),
        ]

    def save(self, folder: Path, record: dict[str, Any]) -> list[Path]:
        """Write ``moves.parquet``, figures ``examples`` and ``moves`` (PNG, PDF), ``report.html``; return the paths.

        Args:
            folder: an existing folder.
            record: how it was made.
        """
        name = format_name(self.task)
        words = "Shares of all pairs and all their equally likely moves, counted one by one; near, far: of the pairs "
        words += "with label +1, −1. gap: the moved pair is at a distance that does not occur; meet: both pixels are "
        words += "in one place; power: mean of |τx − x|² over |x|²."
        panels = [
            _panel("examples", _examples_caption(self.task), self.rows["examples"]),
            _panel(
                "moves",
                f"One input, and {_EXAMPLES} draws of each kind of moves; frames mark where the active pixels were "
                f"before.{' Only their surroundings are shown.' if self.task.dim == 2 else ''}",
                self.rows["moves"],
            ),
        ]
        record = {**record, "task": name}
        return [
            Result(self.table, record).save(folder / "moves.parquet"),
            *save_panels(panels, folder),
            write_page(
                folder / "report.html",
                "Scale detection and its displacement",
                subtitle=name,
                summary=self.summary(),
                sections=[
                    Section("Inputs of both labels", panels=panels[:1]),
                    Section("Moves of single pixels", panels=panels[1:]),
                    Section("The numbers", tables=[Table("Moves", self.table, (), words)]),
                ],
                record=record,
            ),
        ]


def run(name: str, *, seed: int = 0) -> Displaced:
    """Draw inputs of a task and their moves, and count what moves change.

    Moves go round where the task's distances do, and for task 2, which has none; else they stop at the frame. Pixels
    that meet add up.

    Args:
        name: of the task, as `parse` reads it; a split is of no matter, all pairs are counted.
        seed: of the inputs and moves that are drawn.

    Raises:
        ValueError: no such task, or a seed that torch does not take.
    """
    task, _ = parse(name)
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be in 0 .. 2**32 - 1, torch's CPU generator uses no more bits; got {seed}")
    generator = torch.Generator().manual_seed(seed)
    rows = {"examples": _examples(task, generator), "moves": _moves(task, generator)}
    return Displaced(task, displacements(task), rows)


def edge_of(task: ScaleDetection) -> Edge:
    """Return how moves end at the frame: as the task's distances do; round it for task 2, which has none."""
    return "wrap" if task.is_periodic or task.task == 2 else "clamp"


def kinds(task: ScaleDetection) -> tuple[Moves, ...]:
    """Return the kinds of moves there are in the task's dimension."""
    return get_args(Moves)[: 1 + task.dim]


def displacements(task: ScaleDetection, edge: Edge | None = None) -> pd.DataFrame:
    """Count what every move of every pair does, exactly.

    Args:
        task: all of its pairs, uniformly.
        edge: of the frame (default: `edge_of` the task).

    Returns:
        One row a kind of moves, with the columns ``moves``; ``edge``; ``displacement``: rms length of a step in pixels,
        edges aside; ``flips``: share of (pair, moves) after which the label is the opposite, ``flips_near``,
        ``flips_far``: the same of the pairs with label +1 and -1; ``gap``: share after which the distance is one that
        does not occur; ``meet``: share after which both pixels are in one place (distance 0); ``power``: E|τx - x|² /
        |x|², overlapping pixels added.

    Source: sections 3 and 4; erratum 5 (±1 moves flip no label of task 1 with gap 4), 6 and 12 (3.1 % of task 2's).
    """
    import pandas as pd

    pairs, edge = task.pairs, edge or edge_of(task)
    labels = task.labels_of(pairs)
    rows = []
    for moves in kinds(task):
        total = dict.fromkeys(("near", "far", "gap", "meet", "power"), 0.0)
        for both, chance in _combinations(moves, task.dim):
            ends = _moved(pairs, both, task.length, edge)
            after = task.labels_of(ends)
            flipped = after == -labels
            total["near"] += chance * float((flipped & (labels > 0)).sum())
            total["far"] += chance * float((flipped & (labels < 0)).sum())
            total["gap"] += chance * float((after == 0).sum())
            meet = (ends[:, 0] == ends[:, 1]).all(1)
            total["meet"] += chance * float(meet.sum())
            # |τx|² - 2 τx · x + |x|², in units of an active pixel's square.
            stay = sum((ends[:, one] == pairs[:, other]).all(1).double() for one in (0, 1) for other in (0, 1))
            total["power"] += chance * float((2 + 2 * meet.double() - 2 * stay + 2).sum())
        near, far = int((labels > 0).sum()), int((labels < 0).sum())
        count = near + far
        rows.append(
            {
                "moves": moves,
                "edge": edge,
                "displacement": PixelShift(moves).displacement((1 if task.dim == 1 else task.length, task.length)),
                "flips": (total["near"] + total["far"]) / count,
                "flips_near": total["near"] / near,
                "flips_far": total["far"] / far,
                "gap": total["gap"] / count,
                "meet": total["meet"] / count,
                "power": total["power"] / count / 2,
            }
        )
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _combinations(moves: Moves, dim: int) -> Iterator[tuple[Int64[Tensor, "2 dim"], float]]:
    """Yield every pair of different steps of the two pixels, with its chance."""
    table, counts = steps(moves, dim).unique(dim=0, return_counts=True)
    chances = (counts.double() / counts.sum()).tolist()
    for one, other in itertools.product(range(len(table)), repeat=2):
        yield table[[one, other]], chances[one] * chances[other]


def _moved(
    pairs: Int64[Tensor, "pairs 2 dim"], both: Int64[Tensor, "2 dim"], length: int, edge: Edge
) -> Int64[Tensor, "pairs 2 dim"]:
    ends = pairs + both
    return ends.remainder(length) if edge == "wrap" else ends.clamp(0, length - 1)


def _examples(task: ScaleDetection, generator: torch.Generator) -> list[tuple[str, list[Cell | Steps]]]:
    """Return inputs of both labels, as figure 5."""
    labels = task.labels_of(task.pairs)
    rows: list[tuple[str, list[Cell | Steps]]] = []
    for sign, shown in ((1, "+1"), (-1, "−1")):
        some = task.pairs[labels == sign]
        some = some[torch.randperm(len(some), generator=generator)[:_EXAMPLES]]
        distances = task.distance(some)
        rows.append(
            (
                f"label {shown}: {_rule(task, sign)}",
                [
                    _cell(task, pair, words=f"d = {distance:.3g}" if task.task == 1 else "")
                    for pair, distance in zip(some, distances.tolist(), strict=True)
                ],
            )
        )
    return rows


def _moves(task: ScaleDetection, generator: torch.Generator) -> list[tuple[str, list[Cell | Steps]]]:
    """Return an input, and draws of each kind of moves."""
    near = task.pairs[task.labels_of(task.pairs) > 0]
    inside = ((near > 0) & (near < task.length - 1)).all(2).all(1)
    near = near[inside] if inside.any() else near  # a move over the frame would be hard to follow
    pair = near[int(torch.randint(len(near), (1,), generator=generator))]
    rows: list[tuple[str, list[Cell | Steps]]] = []
    view = _around(pair, task.length) if task.dim == 2 else None
    if task.dim == 1:
        rows.append(("the input", [_cell(task, pair)]))
    for moves in kinds(task):
        table = steps(moves, task.dim)
        drawn: list[Cell | Steps] = []
        for _ in range(_EXAMPLES):
            chosen = table[torch.randint(len(table), (2,), generator=generator)]
            end = _moved(pair[None], chosen, task.length, edge_of(task))[0]
            label = {1: "label +1", -1: "label −1", 0: "in the gap"}[int(task.labels_of(end[None]))]
            drawn.append(_cell(task, end, before=pair, words=label, view=view))
        rows.append((_heading(moves, task.dim), [*([_chances(moves)] if task.dim == 2 else []), *drawn]))
    return rows


def _around(pair: Int64[Tensor, "2 2"], length: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return rows and columns of a square that holds both pixels and what is near them, inside the frame."""
    low, high = pair.amin(0), pair.amax(0)
    side = min(length, max(12, int((high - low).max()) + 7))
    first, second = ((low + high - side + 1) // 2).clamp(0, length - side).tolist()
    return (first, first + side - 1), (second, second + side - 1)


def _cell(
    task: ScaleDetection,
    pair: Tensor,
    *,
    before: Tensor | None = None,
    words: str = "",
    view: tuple[tuple[int, int], tuple[int, int]] | None = None,
) -> Cell:
    return Cell(
        task.length,
        pair.numpy(),
        None if before is None else before.numpy(),
        task.scale if task.task == 2 else None,
        words,
        view,
    )


def _heading(moves: Moves, dim: int) -> str:
    chances = {"left-right": "−1 or +1, 1/2 each", "neighbour-or-stay": "−1, 0 or +1, 1/3 each"}
    return f"{moves}: {chances[moves]}" if dim == 1 else moves


def _chances(moves: Moves) -> Steps:
    """Return the probabilities of the steps of a pixel, in two dimensions."""
    table = steps(moves, 2)
    chances = np.zeros((3, 3))
    for row, column in table.tolist():
        chances[row + 1, column + 1] += 1 / len(table)
    return Steps(chances)


def _rule(task: ScaleDetection, sign: int) -> str:
    if task.task == 1:
        return f"distance d below ξ = {task.scale}" if sign > 0 else f"distance d above ξ = {task.scale}"
    return "both pixels in one patch" if (sign > 0) == (task.labels == "text") else "pixels in different patches"


def _examples_caption(task: ScaleDetection) -> str:
    if task.task == 2:
        return f"Inputs of either label; patches of {task.scale} pixels a side in different colours (figure 5b)."
    round_ = " Distances go round the frame." if task.is_periodic else ""
    return f"Inputs of either label: two active pixels, at a distance d in pixels (figure 5a).{round_}"


def _panel(name: str, caption: str, rows: Sequence[tuple[str, Sequence[Cell | Steps]]]) -> Panel:
    return Panel(name, caption, inputs_size(rows), lambda ax: plot_inputs(rows, ax=ax), layout="wide")
