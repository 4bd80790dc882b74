"""Figure 5: inputs of the scale-detection tasks, and how many labels change when active pixels move."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import Field

from poolscope.perturb.pixel_shift import Moves, steps
from poolscope.report import Panel
from poolscope.report.choose import number, records
from poolscope.report.style import MARKERS, colours, house_style, legend_below, own_axes
from poolscope.report.task import Cell, inputs_size, plot_inputs
from poolscope.studies.deform_task import edge_of
from poolscope.studies.reproduce.claim import Estimate
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import SCALES, Settings, Sources, Study, Tables
from poolscope.tasks import ScaleDetection, parse

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

#: By name of their pictures: the tasks of section 4.3, that of figure C1, and task 2 in two dimensions, whose sizes the
#: paper leaves open.
_TASKS = {
    "task1-row": "scale-detection:task=1,dim=1,length=32,scale=11,gap=4",
    "task1-square": "scale-detection:task=1,dim=2,length=32,scale=14,gap=2",
    "task2-row": "scale-detection:task=2,dim=1,length=128,scale=32",
    "task2-square": "scale-detection:task=2,dim=2,length=32,scale=8",
}
_SHIFTS = {"task1-row": (1, 2, 3, 4, 5, 6)}  # pixels that are moved at once; elsewhere one
_CLAIMED = (1, 2, 3)
_LEFT_RIGHT: Moves = "left-right"


class Figure5(Settings):
    """What is drawn; all pairs are counted.

    Attributes:
        examples: of each label.
        seed: of the choice.
    """

    examples: int = Field(default=3, ge=1, le=8)
    seed: int = Field(default=0, ge=0, lt=2**32)


def changed_labels(
    task: ScaleDetection, pixels: int, *, moves: Moves = _LEFT_RIGHT, inside: bool = False
) -> dict[str, float]:
    """Count what moving both active pixels by so many pixels does to the labels, over all pairs and all such moves.

    Moves end at the frame as `edge_of` the task says: round it, or at it.

    Args:
        task: all of its pairs, uniformly.
        pixels: length of each step.
        moves: directions of steps, equally likely, each pixel its own.
        inside: of task 2, whether a step that would leave its patch is not made.

    Returns:
        ``changed``: share of (pair, moves) after which the label is another, ``changed_near`` and ``changed_far``: the
        same of the pairs with label +1 and -1. The label of task 1 is sign(ξ - d) also of distances in the gap, which
        the rule covers though they do not occur; d = ξ, where the sign is 0, counts as another label, and is
        ``neither``. ``gap``: share after which the distance lies in the gap.

    Raises:
        ValueError: ``inside`` for task 1, which has no patches.

    Source: section 3; erratum 5.
    """
    if inside and task.task == 1:
        raise ValueError("inside is of task 2, task 1 has no patches to stay in; got inside=True")
    pairs, round_ = task.pairs, edge_of(task) == "wrap"
    labels = task.labels_of(pairs)
    table = steps(moves, task.dim) * pixels
    near = far = neither = gap = 0
    for one, other in itertools.product(table, repeat=2):
        ends = pairs + torch.stack([one, other])
        ends = ends.remainder(task.length) if round_ else ends.clamp(0, task.length - 1)
        if inside:
            left = (ends // task.scale != pairs // task.scale).any(2, keepdim=True)
            ends = torch.where(left, pairs, ends)
        after = task.labels_of(ends)
        gap += int((after == 0).sum())
        if task.task == 1:
            after = (task.scale - task.distance(ends)).sign().long()
        near += int(((labels > 0) & (after != labels)).sum())
        far += int(((labels < 0) & (after != labels)).sum())
        neither += int((after == 0).sum())
    number_near, number_far = (each * len(table) ** 2 for each in task.counts)
    return {
        "changed": (near + far) / (number_near + number_far),
        "changed_near": near / number_near,
        "changed_far": far / number_far,
        "neither": neither / (number_near + number_far),
        "gap": gap / (number_near + number_far),
    }


def _runs(settings: Figure5, sources: Sources) -> dict[str, Job]:
    return {}


def _tables(settings: Figure5, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    import pandas as pd

    generator = torch.Generator().manual_seed(settings.seed)
    tasks, shifts, examples = [], [], []
    for name, spec in _TASKS.items():
        task = parse(spec)[0]
        near, far = task.counts
        facts = {"task": task.task, "dim": task.dim, "length": task.length, "scale": task.scale, "gap": task.gap}
        tasks.append({"name": name, **facts, "near": near, "far": far, "spec": spec})
        kinds: tuple[Moves, ...] = (_LEFT_RIGHT, "neighbour-or-stay") if task.dim == 1 else (_LEFT_RIGHT,)
        for moves, pixels in itertools.product(kinds, _SHIFTS.get(name, (1,))):
            for inside in (False, True) if task.task == 2 else (False,):
                counted = changed_labels(task, pixels, moves=moves, inside=inside)
                shifts.append({"name": name, "moves": moves, "pixels": pixels, "inside_patches": inside, **counted})
        examples += _examples(name, task, settings.examples, generator)
    return {
        "tasks": pd.DataFrame(tasks),
        "moves": pd.DataFrame(shifts),
        "examples": pd.DataFrame(examples),
    }


def _examples(name: str, task: ScaleDetection, count: int, generator: torch.Generator) -> list[dict[str, Any]]:
    """Return so many pairs of each label, chosen at random: places of the active pixels, and their distance."""
    labels = task.labels_of(task.pairs)
    rows = []
    for label in (1, -1):
        some = task.pairs[labels == label]
        some = some[torch.randperm(len(some), generator=generator)[:count]]
        for pair, distance in zip(some.tolist(), task.distance(some).tolist(), strict=True):
            (first, second), places = pair, ("row", "column") if task.dim == 2 else ("column",)
            rows.append(
                {
                    "name": name,
                    "label": label,
                    **{f"{place}_1": value for place, value in zip(places, first, strict=True)},
                    **{f"{place}_2": value for place, value in zip(places, second, strict=True)},
                    "distance": distance,
                }
            )
    return rows


def _panels(tables: Tables) -> list[Panel]:
    panels = []
    for facts in records(tables["tasks"]):
        rows = _pictured(facts, tables["examples"][tables["examples"]["name"] == facts["name"]])
        panels.append(
            Panel(
                facts["name"],
                _caption(facts),
                inputs_size(rows),
                lambda ax, rows=rows: plot_inputs(rows, ax=ax),  # type: ignore[misc]
                layout="wide",
            )
        )
    moved = tables["moves"][(tables["moves"]["name"] == "task1-row")]
    caption = (
        "Task 1 in one dimension at a gap of 4 pixels: share of the labels sign(ξ − d) that are not the same after "
        "each of the two active pixels has moved so far (every pair and every equally likely move is counted), and "
        "share of pairs that end up in the gap. Moves shorter than the gap are to the left of the dashed line."
    )
    gap = float(tables["tasks"].set_index("name").loc["task1-row", "gap"])  # type: ignore[arg-type]
    panels.append(Panel("moves", caption, (5.2, 3.9), lambda ax: plot_moves(moved, gap, ax=ax)))
    return panels


def _pictured(facts: Mapping[str, Any], examples: pd.DataFrame) -> list[tuple[str, list[Cell]]]:
    """Return the examples of a task as `plot_inputs` takes them."""
    places = ("row", "column") if facts["dim"] == 2 else ("column",)
    patch = facts["scale"] if facts["task"] == 2 else None
    rows = []
    for label, shown in ((1, "+1"), (-1, "−1")):
        cells = [
            Cell(
                facts["length"],
                np.array([[int(row[f"{place}_{pixel}"]) for place in places] for pixel in (1, 2)]),
                patch=patch,
                words=f"d = {row['distance']:.3g}" if patch is None else "",
            )
            for row in records(examples[examples["label"] == label])
        ]
        rows.append((f"label {shown}: {_rule(facts, label)}", cells))
    return rows


def _rule(facts: Mapping[str, Any], label: int) -> str:
    if facts["task"] == 1:
        return f"distance d {'below' if label > 0 else 'above'} ξ = {facts['scale']}"
    return "both pixels in one patch" if label > 0 else "pixels in different patches"


def _caption(facts: Mapping[str, Any]) -> str:
    counts = f"{facts['near']:,} inputs have label +1, {facts['far']:,} have label −1."
    where = "a row" if facts["dim"] == 1 else "a square"
    if facts["task"] == 2:
        return (
            f"Task 2 (figure 5 b) on {where} of {facts['length']} pixels a side: do the two active pixels lie in one "
            f"patch of {facts['scale']}? Patches are shown in different colours. {counts}"
        )
    round_ = " going round the row," if facts["dim"] == 1 else ""
    return (
        f"Task 1 (figure 5 a) on {where} of {facts['length']} pixels a side: are the two active pixels nearer than ξ? "
        f"Distances within {facts['gap'] / 2:g} of ξ,{round_} do not occur. {counts}"
    )


def plot_moves(moves: pd.DataFrame, gap: float, *, ax: Axes | None = None) -> Axes:
    """Draw the shares of changed labels and of pairs in the gap against the length of the moves.

    Args:
        moves: ``moves``, ``pixels``, ``changed`` and ``gap``, of one task.
        gap: g, in pixels, which is marked.
        ax: where to draw (default: a new figure).
    """
    with house_style():
        ax = own_axes(ax)
        ax.axvline(gap, color="0.5", linewidth=1, linestyle="--")
        for number_, (kind, rows) in enumerate(moves.groupby("moves", sort=False)):
            for column, line, words in (("changed", "-", "label changed"), ("gap", ":", "in the gap")):
                ax.plot(
                    rows["pixels"], 100 * rows[column], color=colours()[number_], linestyle=line, linewidth=1.7,
                    marker=MARKERS[number_], markersize=5, label=f"{kind}: {words}",
                )  # fmt: skip
        ax.text(gap, ax.get_ylim()[1], " gap", va="top", fontsize=9)
        ax.set_ylim(bottom=-0.5)
        ax.set_xlabel("move of each pixel (pixels)")
        ax.set_title("% of pairs and moves", loc="left")
        legend_below(ax)
    return ax


def _estimates(tables: Tables) -> dict[str, list[Estimate]]:
    moves = tables["moves"]
    rows = moves[(moves["name"] == "task1-row") & (moves["moves"] == _LEFT_RIGHT) & moves["pixels"].isin(_CLAIMED)]
    stay = moves[(moves["name"] == "task1-row") & (moves["moves"] != _LEFT_RIGHT)].set_index("pixels")["changed"]
    inside = moves[moves["inside_patches"] & (moves["moves"] == _LEFT_RIGHT)]
    across = moves[~moves["inside_patches"] & (moves["moves"] == _LEFT_RIGHT)].set_index("name")["changed"]
    return {
        "invariant-below-the-gap": [
            Estimate.exact(
                row["changed"],
                part=f"{row['pixels']} px",
                note=f"pixels may also stay where they are: {number(stay[row['pixels']])}",
            )
            for row in records(rows)
        ],
        "task2-invariant": [
            Estimate.exact(
                row["changed"],
                part=row["name"].removeprefix("task2-"),
                note=f"moves that may leave their patch change {number(across[row['name']])}",
            )
            for row in records(inside)
        ],
    }


def _words(tables: Tables) -> list[str]:
    moves = tables["moves"]
    rows = moves[(moves["name"] == "task1-row") & (moves["moves"] == _LEFT_RIGHT)].set_index("pixels")["changed"]
    changed = ", ".join(f"{number(100 * rows[pixels])} % at {pixels} px" for pixels in _CLAIMED)
    return [
        f"With a gap of 4 pixels, moves to the left or right change {changed} of the labels of task 1: both pixels "
        "move, so that their distance changes by up to twice the move, and half of the gap lies on either side of ξ. "
        "Only moves of at most a quarter of the gap are sure to change nothing.",
        "Task 2 forgets where in its patch a pixel is; a move that leaves the patch can change the label.",
    ]


STUDY = Study(
    name="fig5",
    title="The scale-detection tasks",
    source="Figure 5",
    shows="Two active pixels on an empty background: task 1 asks whether they are near each other, task 2 whether they "
    "lie in one patch. Small moves of the pixels should not matter: how many labels they change is counted.",
    scales=dict.fromkeys(SCALES, Figure5()),
    runs=_runs,
    tables=_tables,
    panels=_panels,
    estimates=_estimates,
    words=_words,
)
