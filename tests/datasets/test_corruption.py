"""Gaussian corruption: its norm, its distribution, and that frozen noise is the image's own."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import poolscope as ps
from helpers import seeded
from poolscope.datasets import corrupt, frozen_noise, load_images, open_images
from poolscope.perturb.randomness import KeyedRandomness, Purpose

ETAS = [0.01, 0.1, 1.0, 10.0, 30.0, 100.0]
INDICES = torch.arange(400)


def draw(kind: str, images: int, shape: tuple[int, ...], eta: float) -> torch.Tensor:
    if kind == "fresh":
        return corrupt(torch.zeros(images, *shape), eta, generator=seeded(3))
    return frozen_noise(torch.arange(images), shape, eta, seed=3)


def check_mean(samples: torch.Tensor, exact: float, resolution: float) -> None:
    samples = samples.double()
    error = samples.std() / len(samples) ** 0.5
    assert error < resolution, f"standard error {error:.2g} is too coarse to judge {exact:.6g}"
    assert abs(samples.mean() - exact) < 5 * error, f"{samples.mean():.6g} ± {error:.2g}, expected {exact:.6g}"


@pytest.mark.parametrize("kind", ["fresh", "frozen"])
@pytest.mark.parametrize("eta", ETAS)
def test_the_norm_is_the_one_asked_for(kind: str, eta: float) -> None:
    norms = draw(kind, 400, (3, 32, 32), eta).flatten(1).double().norm(dim=1)
    check_mean(norms.square() / eta**2, 1, 0.005)
    check_mean(norms / eta, 1 - 1 / (4 * 3072), 0.002)
    # E|n| of a chi distribution with few degrees of freedom tells sqrt(C H W) from anything else of its order
    few = draw(kind, 4000, (1, 2, 2), eta).flatten(1).double().norm(dim=1)
    check_mean(few.square() / eta**2, 1, 0.02)
    check_mean(few / eta, math.sqrt(2 / 4) * math.gamma(2.5) / math.gamma(2), 0.01)


@pytest.mark.parametrize("kind", ["fresh", "frozen"])
def test_values_are_independent_normals(kind: str) -> None:
    from scipy.stats import kstest

    values = draw(kind, 200, (3, 16, 16), math.sqrt(768)).double()
    assert kstest(values.flatten().numpy(), "norm").pvalue > 1e-4
    flat = values.flatten(1)
    for correlated in (
        (flat @ flat.T)[~torch.eye(200, dtype=torch.bool)] / 768,
        (flat[:, 1:] * flat[:, :-1]).flatten(),
    ):
        check_mean(correlated, 0, 0.01)


def test_fresh_noise_is_added_and_new_at_every_call() -> None:
    images = torch.randn(5, 3, 8, 8, generator=seeded(0))
    before = images.clone()
    generator = seeded(1)
    state = torch.get_rng_state()
    first, second = (corrupt(images, 2.0, generator=generator) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, before)
    assert not torch.equal(first, second)
    assert torch.equal(first, corrupt(images, 2.0, generator=seeded(1)))
    zeros = corrupt(torch.zeros_like(images), 2.0, generator=seeded(1))
    torch.testing.assert_close(first - images, zeros, rtol=0, atol=1e-6)
    assert corrupt(images.double(), 2.0, generator=seeded(1)).dtype == torch.float64


def test_no_noise_is_no_operation() -> None:
    images = torch.randn(5, 3, 8, 8, generator=seeded(0))
    generator = seeded(1)
    state = generator.get_state()
    assert corrupt(images, 0.0, generator=generator) is images
    assert torch.equal(generator.get_state(), state)
    assert torch.equal(frozen_noise(INDICES, (3, 4, 4), 0.0, seed=0), torch.zeros(400, 3, 4, 4))


@pytest.mark.gpu
def test_noise_is_drawn_on_the_device() -> None:
    images = torch.zeros(400, 3, 32, 32, device="cuda")
    noisy = corrupt(images, 10.0, generator=torch.Generator("cuda").manual_seed(0))
    assert noisy.device == images.device
    check_mean(noisy.flatten(1).norm(dim=1).cpu() / 10, 1, 0.002)


@settings(max_examples=30)
@given(
    order=st.permutations(range(12)),
    cuts=st.sets(st.integers(1, 11)),
    threads=st.integers(1, 4),
    seed=st.integers(0, 2**64 - 1),
)
def test_frozen_noise_is_the_images_own(order: list[int], cuts: set[int], threads: int, seed: int) -> None:
    shape = (1, 3, 5)  # an odd number of values: whatever a stream buffers must not reach the next image
    one_by_one = torch.cat([frozen_noise(torch.tensor([index]), shape, 1.5, seed=seed) for index in range(12)])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        batches = torch.tensor(order).tensor_split(sorted(cuts))
        together = torch.cat([frozen_noise(batch, shape, 1.5, seed=seed) for batch in batches])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(together, one_by_one[torch.tensor(order)])


def test_frozen_noise_is_the_keyed_stream_of_the_image() -> None:
    indices = torch.tensor([0, 5, 49999, 2**40])
    expected = KeyedRandomness(11, indices, 2**63, Purpose.NOISE).normal(3, 8, 8) * (7 / math.sqrt(192))
    torch.testing.assert_close(frozen_noise(indices, (3, 8, 8), 7.0, seed=11), expected, rtol=1e-6, atol=0)


def test_frozen_noise_of_other_images_seeds_and_measurements_is_independent() -> None:
    rows = torch.cat(
        [
            *(frozen_noise(torch.arange(6), (3, 32, 32), 1.0, seed=seed) for seed in (0, 1, 2**32, 2**63)),
            KeyedRandomness(0, torch.arange(6), 0, Purpose.NOISE).normal(3, 32, 32) / math.sqrt(3072),
            KeyedRandomness(1, torch.arange(6), 0, Purpose.DEFORMATION).normal(3, 32, 32) / math.sqrt(3072),
        ]
    ).flatten(1)
    cosines = (rows @ rows.T)[torch.triu(torch.ones(36, 36, dtype=torch.bool), 1)]
    assert cosines.abs().max() < 5 / math.sqrt(3072)  # of 630 normals of standard deviation 1/sqrt(3072)


@pytest.mark.parametrize("eta", [-1.0, math.nan, math.inf])
def test_impossible_norms_are_refused(eta: float) -> None:
    for call in (
        lambda: corrupt(torch.zeros(1, 1, 2, 2), eta, generator=seeded(0)),
        lambda: frozen_noise(INDICES, (1, 2, 2), eta, seed=0),
        lambda: open_images("digits", eta=eta),
    ):
        with pytest.raises(ValueError, match=f"eta must be a finite norm of at least 0.*got {eta}"):
            call()


def test_bad_seeds_and_indices_are_refused() -> None:
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match=rf"in 0 \.\. 2\*\*64 - 1.*got {seed}"):
            frozen_noise(INDICES, (1, 2, 2), 1.0, seed=seed)
        with pytest.raises(ValueError, match=rf"got {seed}"):
            open_images("digits", noise_seed=seed)
    with pytest.raises(ValueError, match=r"must not be negative.*got -3"):
        frozen_noise(torch.tensor([4, -3]), (1, 2, 2), 1.0, seed=0)
    with pytest.raises(ValueError, match="device of the images"):
        corrupt(torch.zeros(1, 1, 2, 2, device="meta"), 1.0, generator=seeded(0))


def test_an_opened_data_set_is_corrupted_by_index() -> None:
    clean = open_images("digits", split="test", count=40)
    noisy = open_images("digits", split="test", count=40, eta=3.0, noise_seed=5)
    noise = frozen_noise(torch.arange(40), (1, 32, 32), 3.0, seed=5)
    for index in (3, -1, 3):
        assert torch.equal(noisy[index][0], clean[index][0] + noise[index])
        assert noisy[index][1] == clean[index][1]
    images, labels = load_images("digits", split="test", count=40, eta=3.0, noise_seed=5, with_labels=True)
    assert torch.equal(images, torch.stack([image for image, _ in clean]) + noise)
    assert labels.tolist() == [label for _, label in clean]
    assert torch.equal(noisy.pixels(2)[0], clean.pixels(2)[0])
    other = load_images("digits", split="test", count=40, eta=3.0)
    assert not torch.equal(images, other)
    added = {"name": "digits, noise of norm 3 (seed 5)", "eta": 3.0, "noise_seed": 5}
    assert noisy.description() == {**clean.description(), **added}
    assert not {"eta", "noise_seed"} & clean.description().keys()


def test_a_measurement_of_corrupted_images_says_so() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1024, 10))
    images = open_images("digits", count=30, eta=3.0, noise_seed=5)
    result = ps.measure(model, images, deformation=ps.Diffeomorphism(1.0), layers="all", progress=False)
    assert result.record["data"] == "digits, noise of norm 3 (seed 5)"
    raw = load_images("digits", count=30, eta=3.0, noise_seed=5)
    again = ps.measure(model, raw, deformation=ps.Diffeomorphism(1.0), layers="all", progress=False)
    assert again.table["D"].tolist() == result.table["D"].tolist()
