"""What every deformation and every noise promises: its own randomness, any leading axes, images left alone."""

import math

import numpy as np
import pytest
import torch

from helpers import seeded
from poolscope.perturb import (
    Deformation,
    Diffeomorphism,
    GaussianNoise,
    MatchedNoise,
    Noise,
    ResamplingBlur,
    Rotation,
    Scaling,
    Shear,
    SpectrumMatchedNoise,
    Translation,
    warp,
)
from poolscope.perturb.randomness import KeyedRandomness, Purpose

DEFORMATIONS = [
    Diffeomorphism(0.7),
    Diffeomorphism(0.7, norm="fixed", interpolation="bicubic"),
    Diffeomorphism(0.7, fold="redraw"),
    Translation(0.7),
    Translation(0.7, integer=True, interpolation="nearest"),
    Rotation(0.7),
    Scaling(0.7),
    Shear(0.7),
    ResamplingBlur(Diffeomorphism(0.7)),
    ResamplingBlur(Translation(0.7)),
]
NOISES = [MatchedNoise(), MatchedNoise(rectified=True), GaussianNoise(2.0), SpectrumMatchedNoise()]

each_deformation = pytest.mark.parametrize("tau", DEFORMATIONS, ids=repr)
each_noise = pytest.mark.parametrize("noise", NOISES, ids=repr)


def images_and_moved() -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.rand(4, 3, 20, 20, generator=seeded(0))
    return images, Translation(0.7)(images, generator=seeded(1))


@each_deformation
def test_randomness_comes_from_the_generator_alone(tau: Deformation):
    images, _ = images_and_moved()
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    moved, field = tau(images, generator=seeded(2)), tau.sample(4, (20, 20), generator=seeded(2))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert torch.equal(tau(images, generator=seeded(2)), moved)
    assert torch.equal(tau.sample(4, (20, 20), generator=seeded(2)), field)
    assert not torch.equal(tau.sample(4, (20, 20), generator=seeded(3)), field)
    generator = seeded(2)
    tau(images, generator=generator)
    assert not torch.equal(tau.sample(4, (20, 20), generator=generator), field)  # the generator has moved on


@each_noise
def test_noise_comes_from_the_generator_alone(noise: Noise):
    images, moved = images_and_moved()
    before = torch.get_rng_state()
    drawn = noise.sample(images, moved, generator=seeded(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(noise.sample(images, moved, generator=seeded(2)), drawn)
    assert not torch.equal(noise.sample(images, moved, generator=seeded(3)), drawn)
    assert torch.equal(noise(images, moved, generator=seeded(2)), images + drawn)


@each_deformation
def test_leading_axes(tau: Deformation):
    images = torch.rand(2, 3, 1, 20, 20, generator=seeded(0))
    moved = tau(images, generator=seeded(1))
    assert moved.shape == images.shape
    assert torch.equal(moved.flatten(0, 1), tau(images.flatten(0, 1), generator=seeded(1)))
    assert torch.equal(tau(images[0, 0], generator=seeded(1)), tau(images[:1, 0], generator=seeded(1))[0])


@each_deformation
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(16, 16), (15, 22)])
def test_shape_and_dtype_are_kept_and_images_left_alone(tau: Deformation, dtype: torch.dtype, size: tuple[int, int]):
    images = torch.rand(3, 2, *size, generator=seeded(0)).to(dtype)
    before = images.clone()
    moved = tau(images, generator=seeded(1))
    assert (moved.shape, moved.dtype) == (images.shape, dtype)
    assert torch.equal(images, before)
    assert not torch.equal(moved, images)
    if dtype.itemsize == 2:
        assert torch.equal(moved, tau(images.float(), generator=seeded(1)).to(dtype))


@pytest.mark.parametrize("tau", [each for each in DEFORMATIONS if not isinstance(each, ResamplingBlur)], ids=repr)
def test_images_are_moved_along_the_sampled_fields(tau: Deformation):
    images, _ = images_and_moved()
    field = tau.sample(4, (20, 20), generator=seeded(1))
    expected = warp(images, field, interpolation=tau.interpolation)
    # Two ways to the same positions, a few eps of the image's size apart; slopes up to 3 (bicubic).
    torch.testing.assert_close(tau(images, generator=seeded(1)), expected, rtol=0, atol=3 * 8 * 1.2e-7 * 20)


@each_deformation
def test_keyed_rows_depend_on_the_image_alone(tau: Deformation):
    images = torch.rand(6, 1, 16, 16, generator=seeded(0))
    indices = torch.tensor([4, 9, 0, 2, 7, 1])

    def moved(rows: list[int]) -> torch.Tensor:
        return tau.move(images[rows], KeyedRandomness(0, indices[rows], 0, Purpose.DEFORMATION))

    whole = moved([0, 1, 2, 3, 4, 5])
    for rows in ([0], [1, 2], [5, 3, 4]):
        # Rounding of products of another shape: 1e-6 pixels at most.
        torch.testing.assert_close(moved(rows), whole[rows], rtol=0, atol=1e-5)


@each_noise
def test_keyed_noise_depends_on_the_image_alone(noise: Noise):
    images, moved = images_and_moved()
    whole = noise.draw(images, moved, KeyedRandomness(0, torch.arange(4), 0, Purpose.NOISE))
    part = noise.draw(images[2:], moved[2:], KeyedRandomness(0, torch.arange(2, 4), 0, Purpose.NOISE))
    torch.testing.assert_close(part, whole[2:], rtol=1e-6, atol=1e-7)


@each_deformation
def test_device_and_dtype_of_fields(tau: Deformation):
    field = tau.sample(2, (16, 18), generator=seeded(0), device="cpu", dtype=torch.float64)
    assert (field.shape, field.dtype, field.device.type) == ((2, 2, 16, 18), torch.float64, "cpu")
    single = tau.sample(2, (16, 18), generator=seeded(0))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single, field.float(), rtol=1e-5, atol=1e-5)


@each_deformation
def test_description_has_no_surprises(tau: Deformation):
    about = tau.describe((20, 30))
    assert about["kind"] == type(tau).__name__
    power = tau.sample(3, (20, 30), generator=seeded(0)).double().square().sum(dim=1).mean()
    assert math.isfinite(power)
    assert tau.mean_square((20, 30)) == (0 if isinstance(tau, ResamplingBlur) else pytest.approx(0.49, rel=1e-12))
    assert type(tau).__name__ in repr(tau)


def test_description_tells_whole_pixels_apart():
    assert Translation(1.0, integer=True).describe((8, 8)) != Translation(1.0).describe((8, 8))


@pytest.mark.usefixtures("shapes_unchecked")
@each_deformation
def test_bad_input_is_refused(tau: Deformation):
    images, _ = images_and_moved()
    with pytest.raises(TypeError, match=r"floating point.*x / 255 for bytes.*got torch.uint8"):
        tau(images.byte(), generator=seeded(0))
    with pytest.raises(TypeError, match="only source of randomness here; got NoneType"):
        tau(images, generator=None)
    with pytest.raises(TypeError, match=r"torch.Generator.*got int"):
        tau.sample(2, (20, 20), generator=0)
    with pytest.raises(ValueError, match=r"at least 3 pixels high and wide.*got 20x2"):
        tau(images[..., :2], generator=seeded(0))
    with pytest.raises(ValueError, match=r"at least 3 pixels each.*got 2x20"):
        tau.sample(2, (2, 20), generator=seeded(0))
    with pytest.raises(ValueError, match=r"axes \[\.\.\., C, H, W\]; got shape \(20, 20\)"):
        tau(images[0, 0], generator=seeded(0))
    with pytest.raises(ValueError, match=r"not be empty; got shape \(0, 3, 20, 20\)"):
        tau(images[:0], generator=seeded(0))
    with pytest.raises(ValueError, match="at least 1 field; got 0"):
        tau.sample(0, (20, 20), generator=seeded(0))
    with pytest.raises(ValueError, match=r"float32 or float64.*got torch.float16"):
        tau.sample(2, (20, 20), generator=seeded(0), dtype=torch.float16)


@pytest.mark.usefixtures("shapes_unchecked")
@each_noise
def test_bad_input_to_noise_is_refused(noise: Noise):
    images, moved = images_and_moved()
    with pytest.raises(TypeError, match=r"torch.Generator.*got NoneType"):
        noise.sample(images, moved, generator=None)
    with pytest.raises(TypeError, match=r"floating-point tensor; got torch.uint8"):
        noise.sample(images.byte(), moved, generator=seeded(0))
    with pytest.raises(TypeError, match="floating-point tensor; got ndarray"):
        noise.sample(images.numpy(), moved, generator=seeded(0))
    with pytest.raises(ValueError, match=r"images' shape \(4, 3, 20, 20\); got \(2, 3, 20, 20\)"):
        noise.sample(images, moved[:2], generator=seeded(0))
    if not isinstance(noise, GaussianNoise):
        with pytest.raises(ValueError, match="is matched to τx - x, so it needs moved=τx; got None"):
            noise.sample(images, generator=seeded(0))
