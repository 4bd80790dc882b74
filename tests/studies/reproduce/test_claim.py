"""Verdicts follow from intervals and ranges, and from nothing else."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from poolscope.studies.reproduce.catalogue import find, names_of_all
from poolscope.studies.reproduce.claim import AMPLITUDES, Claim, Estimate, together
from poolscope.studies.reproduce.claims import CLAIMS
from poolscope.studies.reproduce.verdicts import by_claim

SLOPE = Claim("slope", "fig7", "equation (5)", "It falls.", "slope", -2.25, -1.75, "because")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-2.1, -1.9, "reproduced"),
        (-2.25, -1.75, "reproduced"),  # the ends belong to the range
        (-2.4, -1.9, "inconclusive"),
        (-3.0, -1.0, "inconclusive"),  # too wide to tell
        (-1.7, -1.5, "not reproduced"),
        (-2.6, -2.3, "not reproduced"),
        (math.nan, math.nan, "inconclusive"),
    ],
)
def test_a_verdict_is_of_the_whole_interval(low: float, high: float, verdict: str) -> None:
    assert SLOPE.judge(Estimate(-2.0, low, high)) == verdict


def test_a_number_that_is_none_decides_nothing() -> None:
    assert SLOPE.judge(Estimate(math.nan, -2.0, -2.0)) == "inconclusive"
    assert SLOPE.judge(Estimate.exact(-2.0)) == "reproduced"


def test_every_part_must_hold() -> None:
    assert together(["reproduced", "reproduced"]) == "reproduced"
    assert together(["reproduced", "inconclusive"]) == "inconclusive"
    assert together(["inconclusive", "not reproduced", "reproduced"]) == "not reproduced"
    assert together(["reproduced", "not run"]) == "not run"
    assert together([]) == "not run"


def test_ranges_in_words() -> None:
    assert SLOPE.expected == "-2.25 to -1.75"
    assert Claim("a", "b", "c", "d", "e", 0.0, math.inf, "f").expected == "above 0"
    assert Claim("a", "b", "c", "d", "e", -math.inf, 1.0, "f").expected == "below 1"
    assert Claim("a", "b", "c", "d", "e", 0.0, 0.0, "f").expected == "exactly 0"


def test_claims_are_told_apart_and_belong_to_a_study() -> None:
    names = [claim.identifier for claim in CLAIMS]
    assert len(set(names)) == len(names) >= 30
    assert {claim.study for claim in CLAIMS} <= set(names_of_all())
    assert all(claim.low <= claim.high and claim.why and claim.sentence.endswith(".") for claim in CLAIMS)


@pytest.mark.parametrize("name", names_of_all())
def test_studies_are_whole(name: str) -> None:
    study = find(name.upper())
    assert study.name == name
    assert set(study.scales) == {"smoke", "laptop", "paper"}
    assert study.shows.endswith((".", "?"))


def test_an_unknown_study_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"a study must be one of fig1, .*got 'fig77' \(did you mean fig7\?\)"):
        find("fig77")


def rows(*parts: tuple[float | None, str, str, float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "claim": "c", "study": "fig3", "source": "s", "sentence": "t", "expected": "above 0",
                "displacement": math.nan if displacement is None else displacement, "part": part, "verdict": verdict,
                "value": value, "low": value - 1, "high": value + 1, "note": part,
            }
            for displacement, part, verdict, value in parts
        ]
    )  # fmt: skip


def test_the_verdict_is_that_at_the_published_displacement() -> None:
    half, published, twice = AMPLITUDES
    row = by_claim(
        rows(
            (half, "", "not reproduced", -5.0),
            (published, "one", "reproduced", 2.0),
            (published, "two", "inconclusive", 0.5),
            (twice, "", "reproduced", 3.0),
        )
    ).iloc[0]
    assert (row["half"], row["verdict"], row["twice"]) == ("not reproduced", "inconclusive", "reproduced")
    assert row["part"] == "two"  # which decides
    assert row["measured"] == "0.5 (-0.5 to 1.5)"


def test_a_claim_that_depends_on_no_displacement_has_one_verdict() -> None:
    row = by_claim(rows((None, "a", "reproduced", 1.0), (None, "b", "not reproduced", -9.0))).iloc[0]
    assert (row["half"], row["verdict"], row["twice"]) == ("", "not reproduced", "")
    assert row["part"] == "b"
