"""Noise: norms to rounding, power within standard errors, spectra by an independent transform."""

import math

import numpy as np
import pytest
import torch

from helpers import seeded
from poolscope.perturb import Diffeomorphism, GaussianNoise, MatchedNoise, SpectrumMatchedNoise


def norms(rows: torch.Tensor) -> torch.Tensor:
    return rows.double().flatten(1).square().sum(dim=1).sqrt()


def pair(dtype: torch.dtype = torch.float32, size: tuple[int, int] = (16, 16)) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randn(8, 3, *size, generator=seeded(0), dtype=torch.float64)
    images[3] *= 100  # images of very different |τx - x|
    images[4] /= 100
    moved = Diffeomorphism(0.4)(images, generator=seeded(1))
    return images.to(dtype), moved.to(dtype)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    # Each number is rounded once; in the norm these roundings average out, the size's own (float32) does not.
    [(torch.float64, 1e-14), (torch.float32, 3e-7), (torch.float16, 1e-3), (torch.bfloat16, 8e-3)],
)
def test_matched_noise_has_the_norm_of_its_own_image(dtype: torch.dtype, tolerance: float):
    images, moved = pair(dtype)
    noise = MatchedNoise().sample(images, moved, generator=seeded(2))
    assert (noise.shape, noise.dtype) == (images.shape, dtype)
    expected = norms(moved - images)
    assert expected.max() > 1000 * expected.min()
    torch.testing.assert_close(norms(noise), expected, rtol=tolerance, atol=0)


def test_matched_noise_is_not_biased_by_half_types():
    # The size itself must not be rounded to the half type: that would be off by up to 0.2 % for a whole image.
    images = torch.zeros(200, 3, 16, 16, dtype=torch.bfloat16)
    moved = torch.rand(200, 3, 16, 16, generator=seeded(0)).bfloat16()
    ratio = norms(MatchedNoise().sample(images, moved, generator=seeded(1))) / norms(moved)
    # 768 roundings of relative size up to 2^-9, half of it in rms, average out to about 4e-5 an image.
    assert (ratio - 1).abs().max() < 4e-4


def test_matched_noise_has_a_uniform_direction():
    images = torch.zeros(40_000, 1, 2, 3, dtype=torch.float64)
    moved = torch.ones_like(images)
    noise = MatchedNoise().sample(images, moved, generator=seeded(0)).flatten(1)
    second = noise.T @ noise / len(noise)  # on a sphere of radius sqrt(6) in 6 dimensions: the identity
    # The square of a coordinate has variance 2 (n - 1) / (n + 2) = 1.25, a product of two n / (n + 2) = 0.75.
    assert (second - torch.eye(6)).abs().max() < 5 * math.sqrt(1.25 / len(noise))
    assert noise.mean(dim=0).abs().max() < 5 / math.sqrt(len(noise))
    # Fourth moment of a coordinate: 3 n / (n + 2) = 2.25 (a cube or a box would differ), variance below 96.
    assert abs(noise.pow(4).mean().item() - 2.25) < 5 * math.sqrt(96 / noise.numel())


def test_rectified_is_the_relu_of_the_same_noise():
    images, moved = pair(torch.float64)
    plain = MatchedNoise().sample(images, moved, generator=seeded(2))
    rectified = MatchedNoise(rectified=True).sample(images, moved, generator=seeded(2))
    assert torch.equal(rectified, plain.clamp(min=0))
    share = (norms(rectified) / norms(plain)) ** 2
    # Half the power on average: a sum of 768 squares each kept with probability 1/2, so ± sqrt(3 / 768) / 2.
    assert (share - 0.5).abs().max() < 5 * math.sqrt(3 / 768) / 2
    assert not torch.allclose(share, share.new_tensor(0.5), atol=1e-4)  # not renormalised


def test_an_unmoved_image_gets_no_noise():
    images = torch.rand(3, 1, 8, 8, generator=seeded(0))
    moved = images.clone()
    moved[1] += 1
    noise = MatchedNoise().sample(images, moved, generator=seeded(1))
    assert torch.equal(noise[[0, 2]], torch.zeros(2, 1, 8, 8))
    assert norms(noise)[1].item() == pytest.approx(8, rel=1e-6)


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 5), (30,)])
def test_gaussian_noise_has_the_power_asked_for(shape: tuple[int, ...]):
    images = torch.zeros(4000, *shape)
    noise = GaussianNoise(2.5).sample(images, generator=seeded(0))
    power = norms(noise) ** 2
    error = power.std() / len(power) ** 0.5
    assert error < 0.01 * 6.25
    assert abs(power.mean() - 6.25) < 5 * error
    size = images[0].numel()
    # |η|² is 6.25 / n times chi square of n degrees: relative variance 2 / n. The norm is free, unlike matched noise's.
    relative = (power / 6.25).var().item()
    assert relative == pytest.approx(2 / size, rel=5 * math.sqrt(2 / len(power)) * 2)
    expected_norm = 2.5 * (1 - 1 / (4 * size))
    error = norms(noise).std() / len(power) ** 0.5
    assert abs(norms(noise).mean() - expected_norm) < 5 * error + 0.1 / size**2  # the next term of the expansion


def test_gaussian_noise_needs_no_deformation_and_scales():
    images, moved = pair()
    once = GaussianNoise(1.0).sample(images, generator=seeded(0))
    torch.testing.assert_close(GaussianNoise(4.0).sample(images, moved, generator=seeded(0)), 4 * once)
    assert torch.equal(GaussianNoise(0.0)(images, generator=seeded(0)), images)
    with pytest.raises(ValueError, match=r"rms_norm must be finite and not negative; got -1"):
        GaussianNoise(-1.0)
    with pytest.raises(ValueError, match=r"rms_norm.*got nan"):
        GaussianNoise(math.nan)


def test_gaussian_noise_can_be_rectified():
    images = torch.zeros(4000, 3, 8, 8, dtype=torch.float64)
    plain = GaussianNoise(2.5).sample(images, generator=seeded(2))
    rectified = GaussianNoise(2.5, rectified=True).sample(images, generator=seeded(2))
    assert torch.equal(rectified, plain.clamp(min=0))  # the same draw, not renormalised: half the power
    power = norms(rectified) ** 2
    error = power.std() / len(power) ** 0.5
    assert error < 0.01 * 3.125
    assert abs(power.mean() - 3.125) < 5 * error
    assert repr(GaussianNoise(2.5, rectified=True)) == "GaussianNoise(rms_norm=2.5, rectified=True)"


@pytest.mark.parametrize("size", [(16, 16), (15, 12), (9, 13)])
def test_spectrum_is_that_of_the_difference(size: tuple[int, int]):
    images, moved = pair(torch.float64, size)
    noise = SpectrumMatchedNoise().sample(images, moved, generator=seeded(2))
    assert noise.dtype == torch.float64
    difference = np.abs(np.fft.fft2((moved - images).numpy())) ** 2
    spectrum = np.abs(np.fft.fft2(noise.numpy())) ** 2
    scale = difference.max(axis=(-2, -1), keepdims=True)
    np.testing.assert_allclose(spectrum / scale, difference / scale, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(norms(noise), norms(moved - images), rtol=1e-12, atol=0)
    assert (noise - (moved - images)).abs().max() > 1e-3  # with other phases


def test_cross_spectra_between_channels_are_kept():
    images, moved = pair(torch.float64)
    noise = SpectrumMatchedNoise().sample(images, moved, generator=seeded(2)).numpy()
    ours, theirs = np.fft.fft2(noise), np.fft.fft2((moved - images).numpy())
    kept, expected = ours[:, 0] * ours[:, 1].conj(), theirs[:, 0] * theirs[:, 1].conj()
    np.testing.assert_allclose(kept, expected, rtol=1e-9, atol=1e-10 * np.abs(expected).max())


def test_spectrum_matched_noise_is_uncorrelated_with_the_difference():
    images, moved = (each[:1].expand(3000, 3, 16, 16) for each in pair(torch.float64))
    difference = (moved - images).flatten(1)
    noise = SpectrumMatchedNoise().sample(images, moved, generator=seeded(2)).flatten(1)
    cosine = (noise * difference).sum(dim=1) / norms(difference) ** 2
    error = cosine.std() / len(cosine) ** 0.5
    assert error < 0.01
    assert abs(cosine.mean()) < 5 * error
    assert (noise.mean(dim=0).abs() < 5 * noise.std(dim=0) / len(noise) ** 0.5).double().mean() > 0.999
    # A random sum of cosines: its square is 1 / (number of free phases) or more, nothing like 1.
    assert cosine.square().mean() < 0.1


def test_spectrum_needs_two_space_axes():
    with pytest.raises(ValueError, match=r"\[N, C, H, W\].*got \(4, 3, 8\)"):
        SpectrumMatchedNoise().sample(torch.rand(4, 3, 8), torch.rand(4, 3, 8), generator=seeded(0))


def test_matched_noise_takes_any_features():
    rows, moved = torch.zeros(5, 7), torch.rand(5, 7, generator=seeded(0))
    noise = MatchedNoise().sample(rows, moved, generator=seeded(1))
    torch.testing.assert_close(norms(noise), norms(moved), rtol=1e-6, atol=0)
    assert repr(MatchedNoise(True)) == "MatchedNoise(rectified=True)"
    assert repr(GaussianNoise(2.0)) == "GaussianNoise(rms_norm=2)"
