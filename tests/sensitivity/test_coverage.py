"""Intervals contain the truth as often as they say: a linear representation, whose D, G and R are known exactly."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from helpers import seeded
from poolscope.sensitivity.estimate import CONFIDENCE, Estimate, estimate, quantile_t
from poolscope.sensitivity.moments import Covariance, Offset, Scratch, contribution
from poolscope.sensitivity.sums import REFERENCE_IMAGES

EXPERIMENTS = 2000


class LinearWorld:
    """f(x) = W x, x = mean + L z Gaussian; τx - x = B x + C u and η = K z + M v: linear, Gaussian, and correlated."""

    pixels, features = 10, 6

    def __init__(self) -> None:
        generator = seeded(0)

        def matrix(rows: int, scale: float) -> Tensor:
            return scale * torch.randn(rows, self.pixels, generator=generator, dtype=torch.float64)

        # Unequal scales of x: few directions carry the spread, so that its error counts.
        self.L = matrix(self.pixels, 1.0) * torch.logspace(0, -1, self.pixels, dtype=torch.float64)
        self.mean = 2 * torch.randn(self.pixels, generator=generator, dtype=torch.float64)
        self.W, self.B, self.C = matrix(self.features, 1.0), matrix(self.pixels, 0.1), matrix(self.pixels, 0.02)
        self.K, self.M = matrix(self.pixels, 0.05), matrix(self.pixels, 0.05)

    def truth(self) -> dict[str, float]:
        """Return D, G, R: E|A z + m|² = tr A Aᵀ + |m|² for each Gaussian vector."""
        W = self.W
        moved = float((W @ self.B @ self.L).square().sum() + (W @ self.C).square().sum())
        moved += float((W @ self.B @ self.mean).square().sum())
        noisy = float((W @ self.K).square().sum() + (W @ self.M).square().sum())
        spread = 2 * float((W @ self.L).square().sum())
        return {"D": moved / spread, "G": noisy / spread, "R": moved / noisy}

    def experiments(self, number: int, images: int, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        generator = seeded(seed)
        for _ in range(number):
            z, u, v = torch.randn(3, images, self.pixels, generator=generator, dtype=torch.float64)
            x = self.mean + z @ self.L.T
            moved, noisy = x + x @ self.B.T + u @ self.C.T, x + z @ self.K.T + v @ self.M.T
            yield x @ self.W.T, moved @ self.W.T, noisy @ self.W.T


def measured(clean: Tensor, moved: Tensor, noisy: Tensor) -> Estimate:
    """Estimate as ``measure`` does, the reference c being the mean of the first images."""
    offset, moments = Offset(clean[:REFERENCE_IMAGES].mean(dim=0)), Covariance(3)
    part = contribution(clean, moved[None], noisy[None], offset.centre, Scratch())
    offset.add(part.offset)
    moments.update(torch.stack([part.deformation, part.noise, part.distance]))
    squares = (offset.mean_square(len(clean)), offset.mean_power(len(clean)))
    return estimate(len(clean), moments.mean, moments.covariance, *squares, eps=2.0**-52)


def intervals(found: Estimate, images: int) -> dict[str, tuple[float, float]]:
    """Return the 95 % intervals: Student's t on D and G, on log R for R."""
    t = quantile_t(images - 1)
    return {
        "D": (found.D - t * found.D_se, found.D + t * found.D_se),
        "G": (found.G - t * found.G_se, found.G + t * found.G_se),
        "R": (found.R_low, found.R_high),
    }


@pytest.fixture(scope="module")
def world() -> LinearWorld:
    return LinearWorld()


def test_the_truth_is_true(world: LinearWorld) -> None:
    """Closed form against one large sample, so that the coverage below is of the right number."""
    sample = measured(*next(world.experiments(1, 200_000, seed=1)))
    for name, exact in world.truth().items():
        error = getattr(sample, f"{name}_se")
        assert error < 0.01 * exact, f"standard error {error:.2g} is too coarse to judge {exact:.4g}"
        assert abs(getattr(sample, name) - exact) < 4 * error, name


def test_the_spread_adds_to_the_errors(world: LinearWorld) -> None:
    """A case in which the denominator's error matters: without it the errors of D and G are off by a third."""
    clean, moved, noisy = next(world.experiments(1, 100_000, seed=2))
    found = measured(clean, moved, noisy)
    numerators = {"D": (moved - clean).square().sum(dim=1), "G": (noisy - clean).square().sum(dim=1)}
    for name, values in numerators.items():
        alone = float(values.std() / values.mean()) / math.sqrt(len(values))
        ratio = getattr(found, f"{name}_se") / getattr(found, name) / alone
        assert not 0.75 < ratio < 1.33, f"{name}: {ratio:.3f}"


@pytest.mark.parametrize(("images", "least", "most"), [(64, 0.90, 0.97), (500, 0.93, 0.97)])
def test_95_percent_intervals_contain_the_truth(world: LinearWorld, images: int, least: float, most: float) -> None:
    truth = world.truth()
    hits = dict.fromkeys(truth, 0)
    for experiment in world.experiments(EXPERIMENTS, images, seed=3):
        for name, (low, high) in intervals(measured(*experiment), images).items():
            hits[name] += low <= truth[name] <= high
    error = math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / EXPERIMENTS)
    assert error < 0.005, "the number of experiments must tell 0.95 from 0.93 and 0.97"
    shares = {name: number / EXPERIMENTS for name, number in hits.items()}
    print(f"N = {images}: {shares} ± {error:.4f}")
    for name, share in shares.items():
        assert least < share < most, f"{name}: {share:.4f} ± {error:.4f} of the intervals contain it at N = {images}"
