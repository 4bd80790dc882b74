"""Balanced subsets and validation splits: counts, disjointness, seeds, and what cannot be balanced."""

from collections import Counter

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from poolscope.datasets import balanced_subset, validation_split

LABELS = torch.arange(500) * 137 % 500 // 50  # ten classes of 50, mixed

label_lists = st.lists(st.integers(0, 4), min_size=2, max_size=60)


def possible(sizes: list[int], count: int) -> bool:
    """By trying every lower share of a class: can so many be taken, all classes alike to within one?"""
    return any(
        all(size >= share for size in sizes)
        and share * len(sizes) <= count <= sum(min(size, share + 1) for size in sizes)
        for share in range(count + 1)
    )


@given(labels=label_lists, count=st.integers(1, 60), seed=st.integers(0, 2**32 - 1))
def test_a_subset_is_balanced_or_refused(labels: list[int], count: int, seed: int) -> None:
    sizes = list(Counter(labels).values())
    if count > len(labels) or not possible(sizes, count):
        with pytest.raises(ValueError, match=r"count must be|must be balanced"):
            balanced_subset(torch.tensor(labels), count, seed=seed)
        return
    chosen = balanced_subset(torch.tensor(labels), count, seed=seed)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == count
    shares = Counter(labels[index] for index in chosen.tolist())
    counts = [shares[label] for label in set(labels)]
    assert max(counts) - min(counts) <= 1


@given(labels=label_lists, count=st.integers(1, 60), seed=st.integers(0, 2**32 - 1))
def test_a_split_is_balanced_disjoint_and_complete_or_refused(labels: list[int], count: int, seed: int) -> None:
    sizes = [size - 1 for size in Counter(labels).values()]  # one of each is left for training
    if count >= len(labels) or not possible(sizes, count):
        with pytest.raises(ValueError, match=r"count must be|must be balanced"):
            validation_split(torch.tensor(labels), count, seed=seed)
        return
    training, validation = validation_split(torch.tensor(labels), count, seed=seed)
    assert len(validation) == count
    assert sorted(training.tolist() + validation.tolist()) == list(range(len(labels)))
    for part in (training, validation):
        assert part.tolist() == sorted(part.tolist())
    shares = Counter(labels[index] for index in validation.tolist())
    counts = [shares[label] for label in set(labels)]
    assert max(counts) - min(counts) <= 1
    assert {labels[index] for index in training.tolist()} == set(labels)


@given(few=st.integers(1, 250), more=st.integers(1, 250), seed=st.integers(0, 99))
def test_of_one_seed_the_smaller_is_part_of_the_larger(few: int, more: int, seed: int) -> None:
    assume(few <= more)
    for choose in (balanced_subset, lambda *a, seed: validation_split(*a, seed=seed)[1]):
        assert set(choose(LABELS, few, seed=seed).tolist()) <= set(choose(LABELS, more, seed=seed).tolist())


def test_seeds_and_purposes_choose_differently() -> None:
    choices = [balanced_subset(LABELS, 100, seed=seed) for seed in range(5)]
    choices += [validation_split(LABELS, 100, seed=seed)[1] for seed in range(5)]
    assert torch.equal(choices[0], balanced_subset(LABELS, 100, seed=0))
    for first, one in enumerate(choices):
        for other in choices[:first]:
            common = len(set(one.tolist()) & set(other.tolist()))
            # hypergeometric in each class: mean 20 of 100, standard deviation 3.6
            assert common < 20 + 5 * 3.6


def test_every_image_is_taken_equally_often() -> None:
    seeds = 2000
    taken = torch.zeros(60)
    labels = torch.tensor([0] * 20 + [1] * 40)
    for seed in range(seeds):
        taken[balanced_subset(labels, 21, seed=seed)] += 1
    for part, size in ((slice(0, 20), 20), (slice(20, 60), 40)):
        share = 10.5 / size  # the odd one is of either class, half of the time
        error = (share * (1 - share) / seeds) ** 0.5
        assert (taken[part] / seeds - share).abs().max() < 5 * error


def test_the_choice_stays_the_same_across_versions() -> None:
    # numpy's RandomState is frozen: these numbers may change only with a line in the changelog
    assert balanced_subset(LABELS, 12, seed=0).tolist() == SUBSET
    assert validation_split(LABELS, 12, seed=7)[1].tolist() == VALIDATION


SUBSET = [7, 15, 72, 160, 177, 237, 293, 308, 336, 349, 439, 491]
VALIDATION = [29, 77, 79, 108, 123, 160, 219, 223, 244, 374, 384, 494]


@pytest.mark.parametrize(
    ("labels", "count", "seed", "message"),
    [
        ([0, 1, -1], 2, 0, "every image must have a label, from 0.*got -1"),
        ([0, 1], 3, 0, r"count must be in 1 \.\. 2.*got 3"),
        ([0, 1], 0, 0, r"count must be in 1 \.\. 2.*got 0"),
        ([], 1, 0, r"count must be in 1 \.\. 0.*got 1"),
        ([0, 1, 1, 1], 4, 0, "4 images must be balanced over 2 classes, 2 of each; class 0 has 1"),
        ([0, 1], 1, -1, r"seed must be in 0 \.\. 2\*\*32 - 1.*got -1"),
        ([0, 1], 1, 2**32, "seed must be in"),
    ],
)
def test_bad_arguments_are_refused(labels: list[int], count: int, seed: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        balanced_subset(torch.tensor(labels, dtype=torch.int64), count, seed=seed)


def test_a_split_leaves_images_to_train_on() -> None:
    with pytest.raises(ValueError, match=r"count must be in 1 \.\. 499.*got 500"):
        validation_split(LABELS, 500, seed=0)
    with pytest.raises(ValueError, match="2 of each with one left over; class 3 has 2"):
        validation_split(torch.tensor([3, 3, 5, 5, 5, 5]), 4, seed=0)
    with pytest.raises(ValueError, match="class 0 has 1"):
        validation_split(torch.tensor([0, 1]), 1, seed=0)
