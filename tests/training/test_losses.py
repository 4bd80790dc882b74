"""Losses by hand."""

import math

import pytest
import torch

from poolscope.training.losses import losses, right


def test_cross_entropy_is_minus_the_log_of_the_softmax() -> None:
    outputs = [[1.0, 2.0, 0.5], [-3.0, 0.0, 4.0]]
    labels = [1, 0]
    expected = [
        math.log(sum(math.exp(value) for value in row)) - row[label] for row, label in zip(outputs, labels, strict=True)
    ]
    found = losses("cross-entropy", torch.tensor(outputs), torch.tensor(labels))
    assert found.tolist() == pytest.approx(expected, rel=1e-6)  # float32


def test_hinge_is_zero_beyond_the_margin() -> None:
    outputs = torch.tensor([[2.0], [0.25], [-0.5], [2.0], [-0.25], [-3.0], [1.0]])
    labels = torch.tensor([1, 1, 1, 0, 0, 0, 1])
    assert losses("hinge", outputs, labels).tolist() == [0, 0.75, 1.5, 3, 0.75, 0, 0]


def test_which_are_right() -> None:
    outputs = torch.tensor([[1.0, 2.0, 0.5], [-3.0, 0.0, 4.0], [5.0, 0.0, 4.0]])
    assert right("cross-entropy", outputs, torch.tensor([1, 0, 0])).tolist() == [True, False, True]
    sign = torch.tensor([[0.1], [-0.1], [0.1], [-0.1], [0.0]])
    assert right("hinge", sign, torch.tensor([1, 1, 0, 0, 0])).tolist() == [True, False, False, True, True]
