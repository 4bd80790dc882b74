"""The captured step against the plain one, where there is a GPU."""

from __future__ import annotations

import pytest
import torch

from poolscope.networks.simple import SimpleCNN
from poolscope.training.simple.captured import stepper
from poolscope.training.simple.stack import Stack


def stacks(device: str) -> list[Stack]:
    torch.manual_seed(0)
    networks = [SimpleCNN(depth=3, channels=8).to(device) for _ in range(2)]
    return [Stack(networks, (12,)) for _ in range(2)]


def test_on_the_cpu_the_step_is_the_stacks_own() -> None:
    one, other = stacks("cpu")
    images, signs = torch.randn(2, 4, 12, 1), torch.tensor([[1.0, -1.0, 1.0, -1.0]] * 2)
    loss = stepper(one, lr=0.1, ridge=0.2, bias_lr=0.3)(images, signs)
    assert torch.equal(loss, other.step(images, signs, lr=0.1, ridge=0.2, bias_lr=0.3))
    assert all(torch.equal(a, b) for a, b in zip(one.tensors, other.tensors, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and there is none")
def test_captured_steps_are_the_plain_ones() -> None:
    one, other = stacks("cuda")
    step = stepper(one, lr=0.1, ridge=0.2, bias_lr=None)
    with torch.no_grad():
        for number in range(5):
            torch.manual_seed(number)
            images = torch.randn(2, 4, 12, 1, device="cuda")
            signs = torch.tensor([[1.0, -1.0, 1.0, -1.0]] * 2, device="cuda")
            loss = step(images, signs)
            torch.testing.assert_close(loss, other.step(images, signs, lr=0.1, ridge=0.2))
    for a, b in zip(one.tensors, other.tensors, strict=True):
        torch.testing.assert_close(a, b)
