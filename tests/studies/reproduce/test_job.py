"""Jobs are known by what determines their results, and by nothing else."""

import hashlib
from dataclasses import replace

import pytest

from poolscope.studies.reproduce.job import Job, in_order

DATA = {"spec": "parquet:here", "digest": "abc"}
FIRST = Job("train", 1, {"data": DATA, "lr": 0.1, "epochs": 2, "at": [0, "last"]})
SECOND = Job("measured", 2, {"images": 5}, {"network": FIRST}, threads=3)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_the_key_is_a_hash_of_exactly_this_text() -> None:
    """Written out: stores that are full of finished runs hang on it."""
    first = (
        '{"device": "cpu", "needs": {}, "settings": {"at": [0, "last"], "data": {"digest": "abc"}, "epochs": 2, '
        '"lr": 0.1}, "threads": 1, "version": 1, "work": "train"}'
    )
    assert FIRST.key == f"train-{digest(first)}"
    second = (
        '{"device": "cpu", "needs": {"network": "KEY"}, "settings": {"images": 5}, "threads": 3, "version": 2, '
        '"work": "measured"}'
    )
    assert SECOND.key == f"measured-{digest(second.replace('KEY', FIRST.key))}"


def test_the_key_changes_with_all_that_matters_and_with_nothing_else() -> None:
    others = [
        replace(FIRST, work="simple"),
        replace(FIRST, version=2),
        replace(FIRST, settings={**FIRST.settings, "lr": 0.2}),
        replace(FIRST, settings={**FIRST.settings, "data": {**DATA, "digest": "abd"}}),
        replace(FIRST, threads=2),
        replace(FIRST, device="cuda"),
        replace(FIRST, needs={"network": SECOND}),
    ]
    assert len({FIRST.key, *(each.key for each in others)}) == len(others) + 1
    assert replace(SECOND, needs={"network": others[0]}).key != SECOND.key
    moved = {**FIRST.settings, "data": {"digest": "abc", "spec": "parquet:there", "root": "elsewhere"}}
    same = [
        replace(FIRST, settings=moved),
        replace(FIRST, settings={**FIRST.settings, "at": (0, "last")}),
        replace(FIRST, settings=dict(reversed(FIRST.settings.items()))),
        replace(FIRST, memory=9.0),
    ]
    assert {each.key for each in same} == {FIRST.key}
    assert replace(FIRST, settings={**FIRST.settings, "spec": "x"}).key != FIRST.key, "only of data"


def test_what_json_cannot_hold_has_no_key() -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        _ = Job("train", 1, {"lr": float("nan")}).key
    with pytest.raises(TypeError, match="set"):
        _ = Job("train", 1, {"layers": {1}}).key


def test_jobs_come_after_those_they_need_and_once_each() -> None:
    third = Job("pooled", 1, {}, {"a": SECOND, "b": FIRST})
    again = Job("measured", 2, {"images": 5}, {"network": FIRST}, threads=3)
    assert list(in_order([third, again, SECOND])) == [FIRST.key, SECOND.key, third.key]
    assert list(in_order([])) == []


def test_plain_names_needs_by_key() -> None:
    assert SECOND.plain() == {
        "key": SECOND.key,
        "work": "measured",
        "version": 2,
        "settings": {"images": 5},
        "needs": {"network": FIRST.key},
        "threads": 3,
        "device": "cpu",
    }
