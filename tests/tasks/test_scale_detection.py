"""Scale detection against its definition: pairs, labels and images, one by one in slow loops; counts of the text."""

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from poolscope.tasks import ScaleDetection

TEXT = {"length": 32, "scale": 11, "gap": 4.0}
PUBLISHED_2D: dict[str, Any] = {
    "dim": 2, "length": 28, "scale": 14, "gap": 2.0, "gap_rule": "half-open", "pixels": "off-diagonal",
    "pixel": "published",
}  # fmt: skip


def label(task: ScaleDetection, one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """The label of two pixels as section 3 and the published variants have it; 0 where there is none."""
    if task.task == 2:
        same = all(a // task.scale == b // task.scale for a, b in zip(one, other, strict=True))
        near = 1 if task.labels == "text" else -1
        return near if same else -near
    apart = [abs(a - b) for a, b in zip(one, other, strict=True)]
    if task.boundary == "periodic" or (task.boundary is None and task.dim == 1):
        apart = [min(each, task.length - each) for each in apart]
    distance = max(apart) if task.norm == "max" else math.sqrt(sum(each**2 for each in apart))
    low, high = task.scale - task.gap / 2, task.scale + task.gap / 2
    if task.gap_rule == "half-width":
        low, high = task.scale - task.gap, task.scale + task.gap
    if task.gap_rule == "closed" and low <= distance <= high:
        return 0
    if task.gap_rule != "closed" and low <= distance < high:
        return 0
    return 1 if distance < task.scale else -1


def enumerated(task: ScaleDetection) -> dict[tuple[tuple[int, ...], tuple[int, ...]], int]:
    """Every allowed pair, once, with its label."""
    sites = list(itertools.product(range(task.length), repeat=task.dim))
    if task.pixels == "off-diagonal":
        sites = [site for site in sites if site[0] != site[1]]
    labels = {(one, other): label(task, one, other) for one in sites for other in sites if one < other}
    return {pair: sign for pair, sign in labels.items() if sign}


def made(**options: Any) -> ScaleDetection:
    """The task, if both classes occur in it."""
    try:
        return ScaleDetection(**options)
    except ValueError as error:
        if "both classes must occur" not in str(error):
            raise
        return reject()


@st.composite
def tasks(draw: st.DrawFn) -> ScaleDetection:
    dim = draw(st.sampled_from([1, 2]))
    options: dict[str, Any] = {
        "dim": dim, "task": draw(st.sampled_from([1, 2])), "length": draw(st.integers(3, 17 if dim == 1 else 6)),
        "scale": draw(st.integers(1, 6)), "padding": draw(st.integers(0, 2)),
        "pixel": draw(st.sampled_from(["unit", "published", 0.25])),
    }  # fmt: skip
    if dim == 2:
        options["pixels"] = draw(st.sampled_from(["all", "off-diagonal"]))
    if options["task"] == 2:
        options["labels"] = draw(st.sampled_from(["text", "opposite"]))
        return made(**options)
    options["gap"] = draw(st.sampled_from([0.0, 1.0, 2.0, 2.5, 3.0]))
    options["boundary"] = draw(st.sampled_from([None, "periodic", "open"]))
    options["gap_rule"] = draw(st.sampled_from(["closed", "half-open", "half-width"]))
    if dim == 2:
        options["norm"] = draw(st.sampled_from(["euclidean", "max"]))
    return made(**options)


@given(task=tasks())
@settings(max_examples=50)
def test_pairs_labels_and_images_are_those_of_the_definition(task: ScaleDetection) -> None:
    expected = enumerated(task)
    found = [(tuple(one), tuple(other)) for one, other in task.pairs.tolist()]
    assert found == sorted(expected), "each pair once, in order"
    assert task.labels_of(task.pairs).tolist() == [expected[pair] for pair in found]
    assert task.counts == (sum(each > 0 for each in expected.values()), sum(each < 0 for each in expected.values()))
    images = task.images(task.pairs, dtype=torch.float64)
    assert images.shape == (len(expected), *task.shape)
    assert task.shape == (1, *[task.length + 2 * task.padding] * task.dim)
    for image, pair in zip(images, found, strict=True):
        active = {tuple(place) for place in image[0].nonzero().tolist()}
        assert active == {tuple(each + task.padding for each in pixel) for pixel in pair}
        assert set(image.unique().tolist()) == {0.0, task.value}


@given(task=tasks())
@settings(max_examples=20)
def test_distances_are_those_of_the_definition(task: ScaleDetection) -> None:
    if task.task == 2:
        return
    for (one, other), distance in zip(task.pairs.tolist(), task.distance(task.pairs).tolist(), strict=True):
        apart = [abs(a - b) for a, b in zip(one, other, strict=True)]
        if task.is_periodic:
            apart = [min(each, task.length - each) for each in apart]
        assert distance == pytest.approx(max(apart) if task.norm == "max" else math.hypot(*apart), rel=1e-15)


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        (TEXT, (256, 80)),
        ({**TEXT, "gap_rule": "half-width"}, (192, 48)),
        ({**TEXT, "gap_rule": "half-open"}, (256, 112)),
        ({**TEXT, "gap": 2.0, "gap_rule": "half-width"}, (256, 112)),  # how the 1D code would have come to the text's
        ({"task": 2, "length": 128, "scale": 32}, (1984, 6144)),
        ({"task": 2, "length": 128, "scale": 32, "labels": "opposite"}, (6144, 1984)),
    ],
)
def test_counts_of_the_text_and_of_the_published_variants(options: dict[str, Any], counts: tuple[int, int]) -> None:
    task = ScaleDetection(**options)
    assert task.counts == counts
    assert len(task.pairs) == sum(counts)
    assert task.is_periodic


def test_the_published_two_dimensional_task() -> None:
    task = ScaleDetection(**PUBLISHED_2D)
    sites = {tuple(site) for pair in task.pairs.tolist() for site in pair}
    assert len(sites) == 756  # of 784: row = column never lights up
    assert math.comb(756, 2) == 285_390
    assert len(task.pairs) == sum(task.counts) == 256_164
    assert not task.is_periodic
    assert task.value == 392
    images = task.images(task.pairs[::50_000])
    assert images.dtype == torch.float32
    assert torch.equal(images.square().sum((1, 2, 3)), torch.full((len(images),), 2 * 392.0**2))
    padded = ScaleDetection(**PUBLISHED_2D, padding=2)
    assert padded.shape == (1, 32, 32)
    assert torch.equal(padded.images(task.pairs[:5])[:, :, 2:30, 2:30], task.images(task.pairs[:5]))


@pytest.mark.parametrize("length", [32, 128, 33])
def test_an_image_of_a_row_has_the_square_norm_of_its_length(length: int) -> None:
    task = ScaleDetection(length=length, scale=length // 3)
    norms = task.images(task.pairs, dtype=torch.float64).square().sum((1, 2))
    torch.testing.assert_close(norms, torch.full_like(norms, length), rtol=1e-14, atol=0)
    assert task.value == pytest.approx(math.sqrt(length / 2), rel=1e-15)
    assert ScaleDetection(length=length, scale=length // 3, pixel="published").value == task.value


def test_in_two_dimensions_a_pixel_has_a_mean_square_of_one() -> None:
    task = ScaleDetection(dim=2, length=8, scale=3)
    means = task.images(task.pairs, dtype=torch.float64).square().mean((1, 2, 3))
    torch.testing.assert_close(means, torch.ones_like(means), rtol=1e-14, atol=0)
    assert ScaleDetection(dim=2, length=8, scale=3, pixel=2.5).value == 2.5


def flipped(task: ScaleDetection, step: int) -> tuple[float, float]:
    """Share of labels, and of those +1, that are no longer sign(ξ - d), or patch, once both pixels have moved ±step."""
    nearby = dataclasses.replace(task, gap=0.0, gap_rule="closed")  # whose sign is 0 at ξ alone
    signs = [[label(nearby, (one,), (other,)) for other in range(task.length)] for one in range(task.length)]
    changed = changed_near = near = number = 0
    for (one,), (other,) in task.pairs.tolist():
        before = label(task, (one,), (other,))
        for left, right in itertools.product((-step, step), repeat=2):
            after = signs[(one + left) % task.length][(other + right) % task.length]
            number, changed = number + 1, changed + (after != before)
            near, changed_near = near + (before > 0), changed_near + (before > 0 and after != before)
    return changed / number, changed_near / near


@pytest.mark.parametrize(("step", "share"), [(1, 0.0), (2, 0.095), (3, 0.190)])
def test_moves_smaller_than_the_gap_do_change_labels(step: int, share: float) -> None:
    """The text promises invariance below g = 4; the distance changes by twice the move, and what counts is g / 2."""
    assert flipped(ScaleDetection(**TEXT), step)[0] == pytest.approx(share, abs=5e-4)


def test_moves_by_a_pixel_change_labels_of_task_2() -> None:
    everything, near = flipped(ScaleDetection(task=2, length=128, scale=32), 1)
    # of 31 * 32 / 2 near pairs a patch, 60 have one pixel at a border, which leaves half of the time, and one has two
    assert near == pytest.approx((60 / 2 + 3 / 4) / (31 * 32 / 2), rel=1e-12)
    assert near == pytest.approx(0.062, abs=5e-4)
    assert everything == pytest.approx(0.031, abs=5e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": 3}, "task must be one of 1, 2; got 3"),
        ({"dim": 3}, "dim must be one of 1, 2; got 3"),
        ({"boundary": "none"}, "boundary must be one of None, periodic, open; got 'none'"),
        ({"dim": 2, "norm": "manhattan"}, "norm must be one of euclidean, max; got 'manhattan'"),
        ({"gap_rule": "wide"}, "gap_rule must be one of closed, half-open, half-width; got 'wide'"),
        ({"task": 2, "labels": "other"}, "labels must be one of text, opposite; got 'other'"),
        ({"pixels": "most"}, "pixels must be one of all, off-diagonal; got 'most'"),
        ({"pixel": "bright"}, "pixel must be unit, published or a number; got 'bright'"),
        ({"length": 3.0}, "length must be a whole number of pixels, 3 or more; got 3.0"),
        ({"length": 2}, "length must be a whole number of pixels, 3 or more; got 2"),
        ({"scale": 0}, "scale must be a whole number of pixels, 1 or more; got 0"),
        ({"padding": -1}, "padding must be a whole number of pixels, 0 or more; got -1"),
        ({"gap": -1.0}, "gap must be a number of pixels, not negative; got -1.0"),
        ({"gap": math.nan}, "gap must be a number of pixels, not negative; got nan"),
        ({"gap": math.inf}, "gap must be a number of pixels, not negative; got inf"),
        ({"pixel": 0.0}, "pixel must be a positive number, the value of an active pixel; got 0.0"),
        ({"pixel": math.nan}, "pixel must be a positive number.*got nan"),
        ({"task": 2, "gap": 2.0}, "task 2 goes by patches, not by distances.*got gap=2"),
        ({"task": 2, "gap_rule": "half-open"}, "task 2 goes by patches.*gap_rule=half-open"),
        ({"task": 2, "boundary": "open"}, "task 2 goes by patches.*boundary=open"),
        ({"task": 2, "dim": 2, "norm": "max"}, "task 2 goes by patches.*norm=max"),
        ({"labels": "opposite"}, r"labels are a choice of task 2.*got 'opposite'"),
        ({"norm": "max"}, "norm and pixels are choices of two dimensions; got norm=max, pixels=all in one"),
        ({"pixels": "off-diagonal"}, "norm and pixels are choices of two dimensions.*pixels=off-diagonal in one"),
        ({"length": 32, "scale": 16}, "both classes must occur; length 32, scale 16, gap 0 leave 480 pairs with label"),
        ({"length": 32, "scale": 1}, "both classes must occur.*leave 0 pairs"),
        ({"task": 2, "length": 8, "scale": 8}, r"both classes must occur.*leave 28 pairs with label \+1 and 0 with -1"),
    ],
)
@pytest.mark.usefixtures("unchecked_annotations")
def test_tasks_that_are_none_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        ScaleDetection(**options)
    assert "\n" not in str(caught.value)


def test_equal_tasks_are_equal_and_nothing_random_happens() -> None:
    before = torch.get_rng_state()
    one, other = ScaleDetection(**TEXT), ScaleDetection(**TEXT)
    assert one == other
    assert len({one, other}) == 1
    assert torch.equal(one.pairs, other.pairs)
    assert one != ScaleDetection(**TEXT, gap_rule="half-open")
    assert torch.equal(torch.get_rng_state(), before)
