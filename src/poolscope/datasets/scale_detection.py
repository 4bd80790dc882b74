"""Scale-detection tasks as data sets: every allowed pair of pixels an image."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from poolscope.datasets.source import Statistics, check_split
from poolscope.perturb import PixelShift
from poolscope.perturb.pixel_shift import Moves
from poolscope.tasks import format_name, parse

if TYPE_CHECKING:
    import PIL.Image


def task_moves(name: str, moves: Moves = "neighbour-or-stay") -> PixelShift:
    """Return a task's deformation: round its ring if it is periodic, stopped at its frame if it is not.

    Args:
        name: of the task, as for `poolscope.tasks.parse`.
        moves: as for `PixelShift`; the default is section 3's.

    Raises:
        ValueError: a name that is none, or moves that there are not in its dimensions.
    """
    task = parse(name)[0]
    shift = PixelShift(moves, edge="wrap" if task.is_periodic else "clamp", margin=task.padding)
    side = task.shape[-1]
    shift.displacement((1 if task.dim == 1 else side, side))  # refuses what does not go together
    return shift


class ScaleDetectionImages:
    """The pairs of a task: white pixels on black, which the statistics turn into the task's own pixel value.

    Split "train" and "test" are those of the name's ``train=``, ``test=``, ``seed=`` and ``balance=``; ``None`` is the
    whole task, in lexicographic order. Label 1 is y = +1, 0 is y = -1.

    Args:
        name: as for `poolscope.tasks.parse`.
        split: which of them.

    Raises:
        ValueError: a name that is none, or a split of a task whose name does not say ``train=``.
    """

    classes: tuple[str, ...] | None = ("-1", "+1")

    def __init__(self, name: str, split: str | None = None) -> None:
        self.task, shared = parse(name)
        self.name = format_name(self.task, shared)
        check_split(split, ("train", "test"), self.name)
        self.pairs = self.task.pairs
        if split is not None:
            if shared is None:
                raise ValueError(
                    f"split {split!r} needs a task whose name says train=, a number of training pairs; got {name!r}"
                )
            self.pairs = self.pairs[shared.of(self.task)[0 if split == "train" else 1]]
        self._labels = (self.task.labels_of(self.pairs) > 0).long()
        self._split = split
        self.statistics: Statistics | None = Statistics((0.0,), (1 / self.task.value,))
        self.is_rows = self.task.dim == 1

    def __len__(self) -> int:
        return len(self.pairs)

    def picture(self, index: int) -> "tuple[PIL.Image.Image, int]":
        import PIL.Image

        image = self.task.images(self.pairs[index : index + 1], dtype=torch.float64)[0, 0] / self.task.value
        pixels = np.atleast_2d((255 * image).round().to(torch.uint8).numpy())
        return PIL.Image.fromarray(pixels), int(self._labels[index])

    def origin(self) -> dict[str, Any]:
        return {"split": self._split, "task": self.name}

    def identity(self) -> dict[str, Any]:
        return {"task": self.name, "split": self._split}
