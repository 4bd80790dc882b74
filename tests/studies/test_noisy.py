"""Errors and layers under noise, against loops and exact cases."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import poolscope as ps
from poolscope.studies.noisy import errors_under_noise, layers_under_noise


class Sum(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).sum(1, keepdim=True)


def test_error_of_a_threshold_is_the_normal_tail() -> None:
    images = torch.full((4000, 1, 4, 4), 1 / 16)  # f = 1, and f of noise is normal with standard deviation norm
    labels = torch.ones(4000, dtype=torch.int64)
    table = errors_under_noise(Sum(), images, labels, [0.0, 0.5, 1.0], draws=5)
    assert table["error"].iloc[0] == 0
    for norm, error in zip([0.5, 1.0], table["error"][1:], strict=True):
        exact = 0.5 * math.erfc(1 / norm / 2**0.5)
        assert error == pytest.approx(exact, abs=5 * (exact / 20000) ** 0.5)


def test_classes_are_told_by_the_largest_output_and_the_model_keeps_its_mode() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Identity()).train()
    images = torch.eye(3)[:, None, None, :] * 10
    before = torch.get_rng_state()
    table = errors_under_noise(model, images, torch.tensor([0, 1, 0]), [0.0])
    assert table["error"].iloc[0] == pytest.approx(1 / 3)
    assert model.training
    assert torch.equal(before, torch.get_rng_state())


def test_a_linear_layer_has_one_scaled_g_and_a_rectifier_at_a_threshold_has_not() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv1d(1, 4, 3, padding=1)
    images = torch.randn(40, 1, 12)
    norms, moves = [0.1, 1.0, 10.0], ps.PixelShift()
    linear = layers_under_noise(convolution, images, norms, deformation=moves, layers="all")
    for _, rows in linear.groupby("layer"):
        assert rows["G_scaled"].max() == pytest.approx(rows["G_scaled"].min(), rel=1e-3)
    model = nn.Sequential(convolution, nn.Tanh())
    saturated = layers_under_noise(model, images, norms, deformation=moves, layers=["1"])
    rows = saturated[saturated["layer"] == "1"]
    assert rows["G_scaled"].iloc[0] > 2 * rows["G_scaled"].iloc[2]
