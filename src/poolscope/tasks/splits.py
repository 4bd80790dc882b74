"""Disjoint, seeded training and test pairs of a finite task."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Int64
from torch import Tensor

from poolscope.tasks.scale_detection import ScaleDetection

Balance = Literal["classes", "none"]


@dataclass(frozen=True)
class Split:
    """Which pairs of a task are learned from, and which judged on: numbers of rows of ``task.pairs``.

    Args:
        train: P, number of training pairs.
        test: number of test pairs; ``None``: all that are not for training.
        seed: of the choice, and of nothing else.
        balance: "classes": as many of either class (one more of +1 if the number is odd), in training and, where it has
            a number, in test; "none": training pairs are drawn from both classes alike, as they come (the authors'
            code, whose test pairs are balanced all the same).

    Raises:
        ValueError: a choice that there is not, a number below 2, or a seed of more than 32 bits.
    """

    train: int
    test: int | None = None
    seed: int = 0
    balance: Balance = "classes"

    def __post_init__(self) -> None:
        for name, number in (("train", self.train), ("test", self.test)):
            if number is not None and (isinstance(number, bool) or number < 2):
                raise ValueError(f"{name} must be a number of pairs, 2 or more, for the two classes; got {number!r}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(
                f"seed must be in 0 .. 2**32 - 1, torch's CPU generator uses no more bits; got {self.seed}"
            )
        if self.balance not in get_args(Balance):
            raise ValueError(f"balance must be one of {', '.join(get_args(Balance))}; got {self.balance!r}")

    def of(self, task: ScaleDetection) -> tuple[Int64[Tensor, "train"], Int64[Tensor, "test"]]:
        """Return the training and the test pairs, both in random order, none in both.

        Test pairs are taken first from the ends of the two classes' random orders, so that training pairs of different
        numbers are judged on the same test pairs.

        Args:
            task: the pairs to share out.

        Raises:
            ValueError: more pairs are wanted than a class has.
        """
        generator = torch.Generator().manual_seed(self.seed)
        labels = task.labels_of(task.pairs)
        near, far = (
            rows[torch.randperm(len(rows), generator=generator)]
            for rows in ((labels > 0).nonzero()[:, 0], (labels < 0).nonzero()[:, 0])
        )
        test_near, test_far = (0, 0) if self.test is None else (self.test - self.test // 2, self.test // 2)
        if self.balance == "classes":
            need_near, need_far = self.train - self.train // 2 + test_near, self.train // 2 + test_far
        else:
            need_near, need_far = test_near, test_far
        if need_near > len(near) or need_far > len(far) or self.train + (self.test or 1) > len(labels):
            raise ValueError(
                f"train and test must leave enough pairs of each class, of which the task has {len(near)} (+1) and "
                f"{len(far)} (-1); got train={self.train}, test={self.test}, balance={self.balance}"
            )
        tests = [near[len(near) - test_near :], far[len(far) - test_far :]]
        near, far = near[: len(near) - test_near], far[: len(far) - test_far]
        if self.balance == "classes":
            train = torch.cat([near[: self.train - self.train // 2], far[: self.train // 2]])
            rest = torch.cat([near[self.train - self.train // 2 :], far[self.train // 2 :]])
            train = train[torch.randperm(len(train), generator=generator)]
        else:
            pool = torch.cat([near, far])
            pool = pool[torch.randperm(len(pool), generator=generator)]
            train, rest = pool[: self.train], pool[self.train :]
        test = rest if self.test is None else torch.cat(tests)
        return train, test[torch.randperm(len(test), generator=generator)]
