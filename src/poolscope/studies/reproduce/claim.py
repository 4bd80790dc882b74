"""A sentence of the paper as a number, a range in which it must lie, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["reproduced", "not reproduced", "inconclusive", "not run"]

#: The published displacement, δ = 1 at 32 pixels and cutoff 3, as true rms over image and draws; its half and twice.
PUBLISHED = 0.816
AMPLITUDES = (0.408, 0.816, 1.632)


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper, and what would count as reproducing it.

    Attributes:
        identifier: short, unique.
        study: name of the study that measures it.
        source: section, figure or table of the paper.
        sentence: what the paper says, in our words.
        quantity: the number it is judged by.
        low, high: the range the sentence predicts for it.
        why: where the range comes from.
        about_R: whether it is about R (or compares D or G across networks), so that it depends on the displacement and
            is judged at the published one, its half and its twice.
        erratum: where the paper's own text or theory is known to err, what it is.
    """

    identifier: str
    study: str
    source: str
    sentence: str
    quantity: str
    low: float
    high: float
    why: str
    about_R: bool = False
    erratum: str = ""

    @property
    def expected(self) -> str:
        """The range in words."""
        if self.low == self.high:
            return f"exactly {self.low:.3g}"
        if math.isinf(self.high):
            return f"above {self.low:.3g}"
        if math.isinf(self.low):
            return f"below {self.high:.3g}"
        return f"{self.low:.3g} to {self.high:.3g}"

    def judge(self, estimate: Estimate) -> Verdict:
        """Compare one measured number with the range.

        Returns:
            "reproduced" if its whole interval lies in the range, "not reproduced" if none of it does, "inconclusive" if
            a part does, or there is no number or no interval.
        """
        numbers = (estimate.value, estimate.low, estimate.high)
        if any(math.isnan(number) for number in numbers):
            return "inconclusive"
        if self.low <= estimate.low and estimate.high <= self.high:
            return "reproduced"
        if estimate.high < self.low or self.high < estimate.low:
            return "not reproduced"
        return "inconclusive"


@dataclass(frozen=True)
class Estimate:
    """A measured number with its 95 % interval.

    Attributes:
        value: what was measured.
        low, high: its 95 % interval; both ``value`` where the number is exact, nan where there is no interval.
        displacement: true rms, in pixels, where it depends on one.
        part: which part of the claim, such as a layer or a network; all parts must hold.
        interval: what the interval is of: "exact", "over images", "over 4 seeds", "bootstrap of 8 networks".
        note: what else must be known to read it.
    """

    value: float
    low: float
    high: float
    displacement: float | None = None
    part: str = ""
    interval: str = "exact"
    note: str = ""

    @classmethod
    def exact(cls, value: float, *, displacement: float | None = None, part: str = "", note: str = "") -> Estimate:
        """Return a number without an error."""
        return cls(value, value, value, displacement, part, "exact", note)


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict on a claim of several parts: each must be reproduced, and one that is not refutes it."""
    order: tuple[Verdict, ...] = ("not reproduced", "not run", "inconclusive")
    for verdict in order:
        if verdict in verdicts:
            return verdict
    return "reproduced" if verdicts else "not run"
