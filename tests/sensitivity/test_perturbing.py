"""The stacked batch: its order, and which random numbers its parts share."""

import pytest
import torch
from torch import Tensor

from helpers import seeded
from poolscope import Diffeomorphism, MatchedNoise
from poolscope.sensitivity.perturbing import Perturber

IMAGES = torch.rand(3, 2, 8, 8, generator=seeded(0))
INDICES = torch.tensor([4, 0, 9])


def parts(draws: int = 2, seed: int = 0, noise_on: str = "cpu") -> list[Tensor]:
    perturber = Perturber(Diffeomorphism(0.3, 2), MatchedNoise(), seed, draws, noise_on)
    stack = perturber(IMAGES, INDICES)
    assert len(stack) == perturber.stack * len(IMAGES) == (1 + 2 * draws) * 3
    return list(stack.split(3))


def test_order_is_clean_moved_noisy() -> None:
    clean, moved, noisy = parts(draws=1)
    assert torch.equal(clean, IMAGES)
    # Noise has the norm of the same image's deformation; float32 sums of 128 squares.
    norms = [(part - clean).flatten(1).norm(dim=1) for part in (moved, noisy)]
    torch.testing.assert_close(norms[0], norms[1], rtol=1e-5, atol=0)


@pytest.mark.parametrize("noise_on", ["cpu", "device"])
def test_every_draw_is_another_one(noise_on: str) -> None:
    clean, moved, moved_again, noisy, noisy_again = parts(noise_on=noise_on)
    assert not torch.equal(moved, moved_again)
    directions = [torch.nn.functional.normalize((part - clean).flatten(1)) for part in (noisy, noisy_again)]
    # Independent directions in 128 dimensions: cosines of about 1 / sqrt(128) = 0.09.
    assert ((directions[0] * directions[1]).sum(dim=1).abs() < 0.5).all()


def test_more_draws_keep_the_earlier_ones() -> None:
    one, two = parts(draws=1), parts(draws=2)
    assert torch.equal(one[1], two[1])
    assert torch.equal(one[2], two[3])


def test_another_seed_gives_other_fields_and_noise() -> None:
    for first, second in zip(parts(seed=0)[1:], parts(seed=1)[1:], strict=True):
        assert not torch.equal(first, second)
