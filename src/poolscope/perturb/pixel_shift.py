"""The deformation of scale-detection tasks: each active pixel moves by one pixel."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from poolscope._checks import check_generator
from poolscope.perturb.mover import Mover
from poolscope.perturb.randomness import GeneratorRandomness, KeyedRandomness, Randomness

Moves = Literal["left-right", "neighbour-or-stay", "rounded-direction"]
Edge = Literal["wrap", "clamp"]
Overlap = Literal["add", "set"]

_MOST_ACTIVE = 16  # pixels whose combinations of 12 moves a 64-bit integer counts


def steps(moves: str, dim: int) -> Int64[Tensor, "steps dim"]:
    """Return the equally likely steps of a pixel in 1 or 2 dimensions (along the row; or row, column).

    "rounded-direction" has twelve, those along the axes twice.

    Raises:
        ValueError: unknown moves, or rounded directions in one dimension, where there are none.
    """
    if moves not in get_args(Moves):
        raise ValueError(f"moves must be one of {', '.join(get_args(Moves))}; got {moves!r}")
    if moves == "rounded-direction" and dim == 1:
        raise ValueError("moves must be left-right or neighbour-or-stay on rows of pixels; got 'rounded-direction'")
    axes = torch.cat([torch.eye(dim, dtype=torch.int64), -torch.eye(dim, dtype=torch.int64)])
    if moves == "left-right":
        return axes
    if moves == "neighbour-or-stay":
        return torch.cat([axes, torch.zeros(1, dim, dtype=torch.int64)])
    diagonals = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    return torch.cat([axes, axes, diagonals])


class PixelShift(Mover):
    """Move every active (nonzero) pixel of an image by one step of its own; all channels of a pixel go together.

    For ``measure`` and for calls by hand, on images of a few pixels on an empty background, which no interpolation then
    makes into extended objects.

    Args:
        moves: "left-right": one step along an axis, all equally likely (section 4: ±1); "neighbour-or-stay": these or
            none, equally likely (section 3); "rounded-direction": a unit vector of uniform angle, rounded, so one along
            an axis with probability 1/6 each, a diagonal one with 1/12 each, never none (the authors' 2D code).
        edge: "wrap" round the ring or torus (section 4's theory), or "clamp" at the frame (the authors' codes).
        patch: pixels a side of patches whose borders no pixel crosses: such a move is undone, along both axes (the
            authors' code for task 2, of which the text says nothing: it takes homogeneous filters' D_5, classes of the
            same weight, from 0.031 to 0.002 where pixels that meet are set, to 0 where they add).
        overlap: pixels that meet "add" their values (default, as linear theory has it), or one is "set" over the other
            (the authors' code).
        margin: empty pixels on every side that belong to no image, as `ScaleDetection.padding` puts them.
        every: no chance: draw number d of an image makes its moves' combination number d, in turn, so that
            ``measure(..., draws=combinations)`` averages over all of them exactly; for ``measure`` only.

    Raises:
        ValueError: a choice that there is not.

    Source: sections 3 and 4.
    """

    def __init__(
        self,
        moves: Moves = "left-right",
        *,
        edge: Edge = "wrap",
        patch: int | None = None,
        overlap: Overlap = "add",
        margin: int = 0,
        every: bool = False,
    ):
        steps(moves, 2)
        for name, word, words in (("edge", edge, get_args(Edge)), ("overlap", overlap, get_args(Overlap))):
            if word not in words:
                raise ValueError(f"{name} must be one of {', '.join(words)}; got {word!r}")
        if patch is not None and patch < 1:
            raise ValueError(f"patch must be a number of pixels from 1, or None for moves across patches; got {patch}")
        if margin < 0:
            raise ValueError(f"margin must be a number of pixels from 0; got {margin}")
        self.moves: Moves = moves
        self.edge: Edge = edge
        self.patch = patch
        self.overlap: Overlap = overlap
        self.margin = margin
        self.every = every

    def combinations(self, active: int = 2, dim: int = 1) -> int:
        """Return how many equally likely combinations of moves ``active`` pixels have."""
        return int(len(steps(self.moves, dim)) ** active)

    def __call__(
        self, images: Float[Tensor, "images channels *size"], *, generator: torch.Generator
    ) -> Float[Tensor, "images channels *size"]:
        """Move the active pixels of images ``[N, C, L]`` or ``[N, C, H, W]``.

        Raises:
            TypeError: ``generator`` is none.
            ValueError: images of other axes, no pixel inside the margin or an active one in it, or ``every``, which
                goes by ``measure``'s draws.
        """
        check_generator(generator)
        return self.move(images, GeneratorRandomness(generator, len(images)))

    def move(self, images: Tensor, randomness: Randomness) -> Tensor:
        dim = images.ndim - 2
        if dim not in (1, 2):
            raise ValueError(f"images must be [N, C, L] or [N, C, H, W]; got shape {tuple(images.shape)}")
        table = steps(self.moves, dim).to(images.device)
        self._check_margin(tuple(images.shape[2:]))
        active = (images != 0).any(1)
        where = active.nonzero()
        image, place = where[:, 0], where[:, 1:]
        if self.every:
            if not isinstance(randomness, KeyedRandomness):
                raise ValueError("every=True goes through combinations by the number of measure's draw; got no draw")
            first = torch.zeros(len(images), dtype=torch.int64, device=images.device)
            first[1:] = active.flatten(1).sum(1).cumsum(0)[:-1]
            rank = torch.arange(len(where), device=images.device) - first[image]
            if len(rank) and rank.max() >= _MOST_ACTIVE:
                raise ValueError(
                    f"every=True is for images of at most {_MOST_ACTIVE} active pixels, or no number of draws goes "
                    f"through all combinations; got {int(rank.max()) + 1}"
                )
            chosen = (randomness.draw // len(table) ** rank) % len(table)
        else:
            uniform = randomness.uniform(*images.shape[2:]).to(images.device)
            chosen = (uniform[tuple(where.T)] * len(table)).long().clamp_max(len(table) - 1)
        sides = torch.tensor(images.shape[2:], device=images.device) - 2 * self.margin
        start = place - self.margin
        outside = ((start < 0) | (start >= sides)).any(1)
        if self.margin and outside.any():
            raise ValueError(
                f"active pixels must lie inside the margin of {self.margin} empty pixels; an image has one at "
                f"{place[outside][0].tolist()} of {tuple(images.shape[2:])}"
            )
        end = start + table[chosen]
        end = end.remainder(sides) if self.edge == "wrap" else torch.minimum(end.clamp_min(0), sides - 1)
        if self.patch is not None:
            crosses = (start // self.patch != end // self.patch).any(1, keepdim=True)
            end = torch.where(crosses, start, end)
        values = images.movedim(1, -1)[tuple(where.T)]
        moved = torch.zeros_like(images.movedim(1, -1), memory_format=torch.contiguous_format)
        moved.index_put_((image, *(end + self.margin).T), values, accumulate=self.overlap == "add")
        return moved.movedim(-1, 1).contiguous()

    def displacement(self, size: tuple[int, int]) -> float:
        """Return the rms length of a step, in pixels, on images of ``size`` (H, W), H = 1 for rows; edges aside."""
        self._check_margin(size[1:] if size[0] == 1 else size)
        return math.sqrt(steps(self.moves, 1 if size[0] == 1 else 2).square().sum(1).double().mean().item())

    def _check_margin(self, sides: tuple[int, ...]) -> None:
        if min(sides) <= 2 * self.margin:
            raise ValueError(f"margin must leave pixels inside; got margin={self.margin} on images of {sides}")

    def describe(self, size: tuple[int, int]) -> dict[str, object]:
        """Return what this is on images of ``size`` (H, W); displacement in pixels."""
        return {
            "kind": "PixelShift",
            "displacement": self.displacement(size),
            "moves": self.moves,
            "edge": self.edge,
            "patch": self.patch,
            "overlap": self.overlap,
            "margin": self.margin,
            "every": self.every,
        }

    def __repr__(self) -> str:
        return (
            f"PixelShift({self.moves!r}, edge={self.edge!r}, patch={self.patch}, overlap={self.overlap!r}, "
            f"margin={self.margin}, every={self.every})"
        )
