"""Training and test pairs: disjoint, seeded, balanced, and the same test pairs for every number of training pairs."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from poolscope.tasks import ScaleDetection, Split

TASK = ScaleDetection(length=32, scale=11, gap=4.0)  # 256 near and 80 far
NEAR, FAR = TASK.counts


def classes(rows: torch.Tensor) -> tuple[int, int]:
    labels = TASK.labels_of(TASK.pairs[rows])
    return int((labels > 0).sum()), int((labels < 0).sum())


@given(
    train=st.integers(2, 80),
    test=st.none() | st.integers(2, 60),
    seed=st.integers(0, 2**32 - 1),
    balance=st.sampled_from(["classes", "none"]),
)
def test_pairs_are_shared_out(train: int, test: int | None, seed: int, balance: Any) -> None:
    before = torch.get_rng_state()
    split = Split(train, test, seed, balance)
    learned, judged = split.of(TASK)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(learned) == train
    assert len(judged) == (NEAR + FAR - train if test is None else test)
    both = torch.cat([learned, judged])
    assert len(both.unique()) == len(both), "none twice, none in both"
    assert both.min() >= 0
    assert both.max() < NEAR + FAR
    if balance == "classes":
        assert classes(learned) == (train - train // 2, train // 2)
    if test is not None:
        assert classes(judged) == (test - test // 2, test // 2)
    for one, again in zip((learned, judged), Split(train, test, seed, balance).of(TASK), strict=True):
        assert torch.equal(one, again)


def test_seeds_choose_otherwise() -> None:
    chosen = [frozenset(Split(48, seed=seed).of(TASK)[0].tolist()) for seed in range(20)]
    assert len(set(chosen)) == 20


def test_neither_is_sorted_by_class_or_number() -> None:
    for balance in ("classes", "none"):
        for rows in Split(80, 60, balance=balance).of(TASK):
            labels = TASK.labels_of(TASK.pairs[rows])
            half = len(rows) // 2
            # hypergeometric, of 30 or 40 draws from as many: 5 standard deviations are 16 at most
            assert abs(int(labels[:half].sum()) - int(labels[half:].sum())) < 32
            assert not torch.equal(rows, rows.sort().values)


@pytest.mark.parametrize("balance", ["classes", "none"])
def test_more_training_pairs_are_judged_on_the_same_test_pairs(balance: Any) -> None:
    few, many = (Split(train, 60, seed=3, balance=balance).of(TASK) for train in (20, 90))
    assert set(few[1].tolist()) == set(many[1].tolist())
    if balance == "classes":
        assert set(few[0].tolist()) < set(many[0].tolist())


def test_without_balance_training_pairs_come_as_often_as_the_classes_do() -> None:
    near = sum(classes(Split(100, 40, seed=seed, balance="none").of(TASK)[0])[0] for seed in range(100))
    expected = (NEAR - 20) / (NEAR + FAR - 40)
    error = (expected * (1 - expected) / 10_000) ** 0.5  # above the true one: without replacement
    assert error < 0.01 * expected
    assert abs(near / 10_000 - expected) < 5 * error


def test_every_pair_of_a_class_is_as_likely_to_be_learned_from() -> None:
    times = torch.zeros(NEAR + FAR)
    for seed in range(400):
        times[Split(80, seed=seed).of(TASK)[0]] += 1
    labels = TASK.labels_of(TASK.pairs)
    for number, rows in ((NEAR, labels > 0), (FAR, labels < 0)):
        share = 40 / number
        error = (share * (1 - share) / 400) ** 0.5
        assert (times[rows] / 400 - share).abs().max() < 5 * error


def test_all_of_the_smaller_class_can_be_used() -> None:
    learned, judged = Split(100, 60).of(TASK)  # 50 + 30 far
    far = {row for row in range(NEAR + FAR) if int(TASK.labels_of(TASK.pairs[[row]])) < 0}
    assert far <= set(learned.tolist()) | set(judged.tolist())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": 1}, "train must be a number of pairs, 2 or more.*got 1"),
        ({"train": 48, "test": 0}, "test must be a number of pairs, 2 or more.*got 0"),
        ({"train": 48, "balance": "some"}, "balance must be one of classes, none; got 'some'"),
        ({"train": 48, "seed": -1}, r"seed must be in 0 .. 2\*\*32 - 1.*got -1"),
        ({"train": 48, "seed": 2**32}, rf"seed must be in 0 .. 2\*\*32 - 1.*got {2**32}"),
        ({"train": 162}, r"256 \(\+1\) and 80 \(-1\); got train=162, test=None, balance=classes"),
        ({"train": 100, "test": 62}, r"256 \(\+1\) and 80 \(-1\); got train=100, test=62, balance=classes"),
        ({"train": 336, "balance": "none"}, "must leave enough pairs.*got train=336"),
        ({"train": 300, "test": 40, "balance": "none"}, "must leave enough pairs.*got train=300, test=40"),
        ({"train": 2, "test": 162, "balance": "none"}, "must leave enough pairs.*got train=2, test=162"),
    ],
)
@pytest.mark.usefixtures("unchecked_annotations")
def test_shares_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Split(**options).of(TASK)
    assert "\n" not in str(caught.value)
