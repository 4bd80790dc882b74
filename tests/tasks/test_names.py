"""Names of tasks: there and back, defaults, and what a wrong one is told."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolscope.tasks import PREFIX, ScaleDetection, Split, format_name, parse
from tasks.test_scale_detection import tasks

POSITIVE = st.floats(0, 1e6, exclude_min=True, allow_nan=False)


@given(
    task=tasks(),
    pixel=st.sampled_from(["unit", "published"]) | POSITIVE,
    split=st.none()
    | st.builds(
        Split,
        st.integers(2, 10**6),
        st.none() | st.integers(2, 10**6),
        st.integers(0, 2**32 - 1),
        st.sampled_from(["classes", "none"]),
    ),
)
@settings(max_examples=50)
def test_names_come_back_as_they_were(task: ScaleDetection, pixel: Any, split: Split | None) -> None:
    task = dataclasses.replace(task, pixel=pixel)
    assert parse(format_name(task, split)) == (task, split)


@given(gap=st.floats(0, 3, allow_nan=False))
def test_a_gap_of_any_number_comes_back_as_it_was(gap: float) -> None:
    task = ScaleDetection(length=32, scale=11, gap=gap)
    assert parse(format_name(task)) == (task, None)


def test_a_name_says_its_sizes_and_what_is_not_usual() -> None:
    assert parse(PREFIX) == (ScaleDetection(), None)
    text = ScaleDetection(length=32, scale=11, gap=4.0)
    name = "scale-detection:task=1,dim=1,length=32,scale=11,gap=4"
    assert (format_name(text), parse(name)) == (name, (text, None))
    assert format_name(text, Split(48)) == f"{name},train=48"
    assert format_name(text, Split(48, 100, 3, "none")) == f"{name},train=48,test=100,seed=3,balance=none"
    patches = ScaleDetection(task=2, length=128, scale=32)
    assert format_name(patches) == "scale-detection:task=2,dim=1,length=128,scale=32"
    published = parse(
        "scale-detection:dim=2,length=28,scale=9,gap=2,gap_rule=half-open,pixels=off-diagonal,padding=2,"
        "pixel=published,norm=max,boundary=periodic"
    )[0]
    assert published == ScaleDetection(
        dim=2, length=28, scale=9, gap=2.0, gap_rule="half-open", pixels="off-diagonal", padding=2, pixel="published",
        norm="max", boundary="periodic",
    )  # fmt: skip
    assert parse("scale-detection: train = 10 , seed=3")[1] == Split(10, seed=3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scale:length=3", "must begin with scale-detection:; got 'scale:length=3'"),
        ("scale-detection:lenght=3", r"keys among task, dim,.*got 'lenght=3' \(did you mean length=\?\)"),
        ("scale-detection:length", r"like key=value.*got 'length' \(did you mean length=\?\)"),
        ("scale-detection:zzz=1", "got 'zzz=1'$"),
        ("scale-detection:gap=1,gap=2", "must be given once; got gap twice"),
        ("scale-detection:length=3.5", "length of scale-detection: must be a whole number; got '3.5'"),
        ("scale-detection:gap=wide", "gap of scale-detection: must be a number; got 'wide'"),
        ("scale-detection:gap=published", "gap of scale-detection: must be a number; got 'published'"),
        ("scale-detection:pixel=bright", "pixel of scale-detection: must be a number; got 'bright'"),
        ("scale-detection:test=10", "test need train=, a number of training pairs; got 'scale-detection:test=10'"),
        ("scale-detection:test=10,seed=1", "test, seed need train="),
        ("scale-detection:boundary=none", "boundary must be one of None, periodic, open; got 'none'"),
        ("scale-detection:gap_rule=", "gap_rule must be one of closed, half-open, half-width; got ''"),
        ("scale-detection:scale=16", "both classes must occur"),
        ("scale-detection:pixel=-1", "pixel must be a positive number"),
        ("scale-detection:train=1", "train must be a number of pairs, 2 or more"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unchecked_annotations")
def test_names_that_mean_nothing_are_told_why(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse(name)
    assert "\n" not in str(caught.value)
