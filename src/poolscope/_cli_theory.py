"""The command that predicts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from poolscope._options import Out, command_line, made_folder, print_table


class Moves(StrEnum):
    """Kinds of moves on the command line."""

    left_right = "left-right"
    neighbour_or_stay = "neighbour-or-stay"
    rounded_direction = "rounded-direction"


class Boundary(StrEnum):
    """Kinds of distances on the command line."""

    periodic = "periodic"
    open = "open"


def theory(
    task: Annotated[int, typer.Option(min=1, max=2, help="1: by distance; 2: by patches.")] = 1,
    length: Annotated[int | None, typer.Option(help="Pixels a side (default: 32; task 2: 128).")] = None,
    scale: Annotated[int | None, typer.Option(help="ξ, in pixels (default: 11; task 2: 32).")] = None,
    gap: Annotated[float | None, typer.Option(help="Of task 1: no distances within gap / 2 of ξ (default: 4).")] = None,
    filter_size: Annotated[int | None, typer.Option(help="F, pixels a side (default: 3; task 2: 2).")] = None,
    stride: Annotated[int | None, typer.Option(help="1 or F (default: 1; task 2: F).")] = None,
    depth: Annotated[
        int | None, typer.Option(help="Layers (default: 12; at stride F, down to a single pixel).")
    ] = None,
    dim: Annotated[int | None, typer.Option(min=1, max=2, help="1: rows of pixels; 2: squares (default: 1).")] = None,
    moves: Annotated[Moves, typer.Option(help="How each active pixel moves; the last in 2D only.")] = Moves.left_right,
    boundary: Annotated[
        Boundary | None, typer.Option(help="Distances go round (periodic, default in 1D), or not (open, in 2D).")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="*.safetensors of a poolscope:simplecnn: its mean filters are predicted too.")
    ] = None,
    out: Out = None,
) -> None:
    """Print exact D, G and R of scale detection at every layer, beside their asymptotic laws; no network is run.

    Rectified noise, plain noise into a ReLU network and into a linear one: G_rectified, G_relu, G_linear. R is D over
    G_rectified.

    Example: poolscope theory --task 2 --out theory-task2
    """
    from poolscope.studies.mean_filters import read_mean_filters
    from poolscope.studies.theory import run

    sizes: dict[str, Any] = {"length": length, "scale": scale, "gap": gap, "filter_size": filter_size}
    sizes |= {"stride": stride, "depth": depth, "dim": dim, "moves": moves.value}
    sizes |= {"boundary": boundary.value if boundary else None}
    found = run(task, **sizes, learned=read_mean_filters(weights) if weights else None)
    print_table(found.homogeneous, found.title, found.columns(found.homogeneous))
    if found.of_learned is not None:
        print_table(found.of_learned, f"the same with the mean filters of {weights}", found.columns(found.of_learned))
    for _, said in found.summary():
        print("\n".join(said))
    folder = made_folder(out)
    if folder is not None:
        found.save(folder, {"command": command_line(), "weights": weights and str(weights)})
        print(f"open {folder / 'report.html'}")
