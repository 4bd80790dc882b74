"""The ensemble against its definition and the paper's constants: amplitudes, calibration, folding."""

import math
import warnings

import pytest
import torch

import poolscope.perturb.diffeomorphism as module
from helpers import seeded
from poolscope.perturb import Diffeomorphism, fold_fraction, temperature_range, warp
from poolscope.perturb.folding import folds
from poolscope.perturb.randomness import KeyedRandomness, Purpose


def power_per_field(field: torch.Tensor) -> torch.Tensor:
    """Return the mean over pixels of |(dx, dy)|², float64 [B]."""
    return field.double().square().sum(dim=1).mean(dim=(1, 2))


def within_errors(samples: torch.Tensor, exact: float, coarsest: float) -> None:
    """Hold the mean of ``samples`` to ``exact`` within five standard errors, each at most ``coarsest`` of it."""
    samples = samples.double()
    error = float(samples.std()) / len(samples) ** 0.5
    assert error < coarsest * exact, f"standard error {error:.2g} is too coarse to judge {exact:.4g}"
    assert abs(float(samples.mean()) - exact) < 5 * error, f"{samples.mean():.5g} ± {error:.2g}, expected {exact:.5g}"


# Calibration. |τ|² varies by 0.5 of its mean at cutoff 3 and by 1 at cutoff 1 (one mode), hence the numbers of draws.
# Five errors of 0.8 % in the square are 2 % in the rms.


@pytest.mark.parametrize(
    ("size", "cutoff", "draws"),
    [
        ((3, 3), 1, 20_000),
        ((12, 12), 1, 20_000),
        ((32, 32), 3, 5000),
        ((17, 40), 5, 3000),
        ((9, 9), 7, 3000),
        ((33, 20), 15, 1500),
        ((64, 64), 10, 1200),
    ],
)
def test_displacement_is_the_true_rms(size: tuple[int, int], cutoff: int, draws: int):
    tau = Diffeomorphism(1.3, cutoff, fold="ignore")
    assert tau.displacement(size) == pytest.approx(1.3, rel=1e-13)
    assert tau.mean_square(size) == pytest.approx(1.69, rel=1e-13)
    field = tau.sample(draws, size, generator=seeded(cutoff))
    within_errors(power_per_field(field), 1.69, coarsest=0.008)


def test_default_displacement_is_a_32nd_of_the_shorter_side():
    assert Diffeomorphism().displacement((64, 48)) == pytest.approx(1.5)
    field = Diffeomorphism(fold="ignore").sample(4000, (16, 40), generator=seeded(0))
    within_errors(power_per_field(field), 0.25, coarsest=0.008)


@pytest.mark.parametrize("size", [(12, 12), (10, 17)])
def test_amplitudes_are_gaussian_of_variance_t_over_squared_frequency(size: tuple[int, int]):
    draws, temperature = 20_000, 2e-3
    field = Diffeomorphism(temperature=temperature, cutoff=3, fold="ignore").sample(
        draws, size, generator=seeded(0), dtype=torch.float64
    )
    height, width = size
    x = torch.arange(width, dtype=torch.float64) / (width - 1)
    y = torch.arange(height, dtype=torch.float64) / (height - 1)
    amplitudes = []
    for i, j in [(1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1)]:
        mode = torch.sin(j * math.pi * y)[:, None] * torch.sin(i * math.pi * x)
        amplitude = (field * mode).sum(dim=(-2, -1)) / mode.square().sum()  # the modes are orthogonal on the pixels
        deviation = min(size) * math.sqrt(temperature / (i * i + j * j))  # T is in units of the shorter side
        amplitudes.append(amplitude / deviation)
        field = field - amplitude[..., None, None] * mode
    assert field.abs().max() < 1e-12  # nothing is left: there are no other modes
    standard = torch.stack(amplitudes, dim=-1).flatten(1)  # [draws, 12]
    covariance = standard.T @ standard / draws
    # Errors: sqrt(2 / draws) on the diagonal, sqrt(1 / draws) beside it; 78 numbers, so 5 of them.
    assert (covariance - torch.eye(12)).abs().max() < 5 * math.sqrt(2 / draws)
    assert (standard.mean(dim=0)).abs().max() < 5 / math.sqrt(draws)
    assert abs(standard.pow(4).mean().item() - 3) < 5 * math.sqrt(96 / (12 * draws))


def test_images_of_a_batch_get_fields_of_their_own():
    tau = Diffeomorphism(1.0, fold="ignore")
    field = tau.sample(6, (16, 16), generator=seeded(0))
    assert len(torch.unique(field.flatten(1), dim=0)) == 6
    images = torch.rand(1, 3, 16, 16, generator=seeded(1)).expand(6, 3, 16, 16)
    moved = tau(images, generator=seeded(0))
    assert len(torch.unique(moved.flatten(1), dim=0)) == 6
    # ... shared by the channels: equal channels stay equal.
    grey = images[:, :1].expand(6, 3, 16, 16)
    moved = tau(grey, generator=seeded(0))
    assert torch.equal(moved[:, 0], moved[:, 2])


# The published ensemble.


@pytest.mark.parametrize(
    ("n", "cutoff", "rms"),
    [(32, 3, 0.816), (32, 5, 0.835), (224, 3, 0.839), (224, 5, 0.858), (224, 10, 0.875), (224, 15, 0.886)],
)
def test_published_rms(n: int, cutoff: int, rms: float):
    tau = Diffeomorphism.published(delta=1.0, cutoff=cutoff)
    assert tau.displacement((n, n)) == pytest.approx(rms, abs=6e-4)  # three digits, the last one sampled
    assert tau.temperature((n, n)) == pytest.approx(4 / (math.pi * n * n * math.log(cutoff)), rel=1e-13)
    assert tau.delta((n, n)) == pytest.approx(1, rel=1e-13)
    assert Diffeomorphism.published(2.5, cutoff).displacement((n, n)) == pytest.approx(2.5 * rms, abs=2.5 * 6e-4)


def test_published_rms_to_four_digits():
    # image-average variance per component T (n - 1)² / 4 S in pixels, S = 1.225, T = 4 / (π n² ln 3); both components
    exact = math.sqrt(2 * 4 / (math.pi * 32**2 * math.log(3)) * 31**2 / 4 * 1.225)
    assert exact == pytest.approx(0.8162, abs=5e-5)
    assert Diffeomorphism.published().displacement((32, 32)) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize(("cutoff", "mean", "centre"), [(3, 0.618, 1.271), (5, 0.657, 1.147)])
def test_published_mean_and_centre(cutoff: int, mean: float, centre: float):
    field = Diffeomorphism.published(1.0, cutoff).sample(6000, (32, 32), generator=seeded(0)).double()
    length = field.square().sum(dim=1).sqrt()
    # The table's own errors are about half a unit of its last digit, small beside ours.
    within_errors(length.mean(dim=(1, 2)), mean, coarsest=0.006)
    within_errors(length[:, 15:17, 15:17].square().mean(dim=(1, 2)), centre**2, coarsest=0.015)


def test_three_names_for_one_amplitude():
    size = (32, 32)
    published = Diffeomorphism.published(1.0, 3)
    same = [
        Diffeomorphism(published.displacement(size), 3),
        Diffeomorphism(temperature=published.temperature(size), cutoff=3),
    ]
    expected = published.sample(3, size, generator=seeded(0), dtype=torch.float64)
    for tau in same:
        field = tau.sample(3, size, generator=seeded(0), dtype=torch.float64)
        torch.testing.assert_close(field, expected, rtol=1e-12, atol=0)
    # At the authors' lowest temperature, δ is half a pixel.
    assert Diffeomorphism(temperature=temperature_range(32, 3)[0]).delta(size) == pytest.approx(0.5, rel=1e-13)
    assert math.isnan(Diffeomorphism(1.0, 1).delta(size))


# The fixed-norm ensemble.


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-13)])
@pytest.mark.parametrize(("size", "cutoff"), [((32, 32), 3), ((3, 3), 1), ((20, 13), 8)])
def test_fixed_norm_gives_every_field_the_same_rms(
    size: tuple[int, int], cutoff: int, dtype: torch.dtype, tolerance: float
):
    tau = Diffeomorphism(0.9, cutoff, norm="fixed", fold="ignore")
    rms = power_per_field(tau.sample(200, size, generator=seeded(0), dtype=dtype)).sqrt()
    # Sums of at most 2 * 53 rounded terms on either side of the division.
    torch.testing.assert_close(rms, torch.full_like(rms, 0.9), rtol=tolerance, atol=0)
    gaussian = Diffeomorphism(0.9, cutoff, fold="ignore").sample(200, size, generator=seeded(0))
    assert power_per_field(gaussian).std() > 0.1  # and this it is without


def test_fixed_norm_only_rescales():
    gaussian, fixed = (
        Diffeomorphism(0.9, norm=norm, fold="ignore").sample(5, (16, 16), generator=seeded(0), dtype=torch.float64)
        for norm in ("gaussian", "fixed")
    )
    scale = 0.9 / power_per_field(gaussian).sqrt()
    torch.testing.assert_close(fixed, gaussian * scale[:, None, None, None], rtol=1e-12, atol=0)


# Moving images.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("size", "cutoff"), [((16, 16), 3), ((17, 30), 5), ((224, 224), 3), ((64, 256), 15)])
def test_moving_images_is_warping_by_the_sampled_fields(size: tuple[int, int], cutoff: int, dtype: torch.dtype):
    tau = Diffeomorphism(1.5, cutoff, fold="ignore")
    images = torch.rand(2, 3, *size, generator=seeded(0), dtype=dtype)
    field = tau.sample(2, size, generator=seeded(1), dtype=dtype)
    moved = tau(images, generator=seeded(1))
    # Positions, of size 1 in grid units, are off by a few eps on either side, each of them side / 2 pixels; the values
    # of neighbouring pixels differ by at most 1 along each axis.
    bound = 8 * torch.finfo(dtype).eps * max(size)
    torch.testing.assert_close(moved, warp(images, field), rtol=0, atol=bound)
    assert (moved - images).abs().max() > 0.1
    for frame in (moved[..., 0, :] - images[..., 0, :], moved[..., :, -1] - images[..., :, -1]):
        assert torch.equal(frame, torch.zeros_like(frame))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("side", [16, 21])
def test_interpolation_is_that_of_warp(interpolation: str, side: int):
    tau = Diffeomorphism(1.0, fold="ignore", interpolation=interpolation)
    images = torch.rand(4, 1, side, side, generator=seeded(0), dtype=torch.float64)
    field = tau.sample(4, (side, side), generator=seeded(1), dtype=torch.float64)
    expected = warp(images, field, interpolation=interpolation)
    torch.testing.assert_close(tau(images, generator=seeded(1)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["gaussian", "fixed"])
@pytest.mark.parametrize("side", [16, 21])
def test_no_displacement_is_the_identity(norm: str, side: int):
    tau = Diffeomorphism(0.0, norm=norm)
    images = torch.rand(4, 3, side, side, generator=seeded(0))
    moved = tau(images, generator=seeded(1))
    assert torch.equal(moved, images)
    assert moved.data_ptr() != images.data_ptr()
    field = tau.sample(4, (side, side), generator=seeded(1))
    assert torch.equal(field, torch.zeros_like(field))
    assert tau.fold_probability((side, side)) == 0


def test_autocast_and_matmul_precision_change_nothing():
    tau = Diffeomorphism(1.0, 5, fold="ignore")
    images = torch.rand(4, 3, 20, 20, generator=seeded(0))
    field, moved = tau.sample(4, (20, 20), generator=seeded(1)), tau(images, generator=seeded(1))
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(tau.sample(4, (20, 20), generator=seeded(1)), field)
            assert torch.equal(tau(images, generator=seeded(1)), moved)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("batch", [1, 3])
def test_what_is_kept_between_calls_is_left_alone(batch: int):
    # Tables made in inference mode may be read outside it, but not written to.
    tau = Diffeomorphism(0.5, 4)
    images = torch.rand(batch, 1, 19, 23, generator=seeded(0), dtype=torch.float64)
    with torch.inference_mode():
        expected = tau(images, generator=seeded(1))
    assert torch.equal(tau(images, generator=seeded(1)), expected)
    images.requires_grad_()
    moved = tau(images, generator=seeded(1))
    assert torch.equal(moved, expected)
    # Linear in the images: the gradient of what comes out, weighted by w, gives back w · moved.
    weights = torch.randn(moved.shape, generator=seeded(2), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((moved * weights).sum(), images)
    assert (gradient * images).sum().item() == pytest.approx((moved * weights).sum().item(), rel=1e-12)


@pytest.mark.parametrize("fold", ["ignore", "redraw"])
@pytest.mark.parametrize("norm", ["gaussian", "fixed"])
def test_keyed_fields_do_not_depend_on_the_batch(fold: str, norm: str):
    # A displacement at which a good part is drawn again: then too, each image's tries are its own.
    indices = torch.randperm(24, generator=seeded(0))

    def fields(part: torch.Tensor) -> torch.Tensor:
        tau = Diffeomorphism(2.6, 3, norm=norm, fold=fold)
        return tau.draw(KeyedRandomness(0, part, 1, Purpose.DEFORMATION), (32, 32), dtype=torch.float32)

    whole = fields(indices)
    parts = torch.cat([fields(part) for part in indices.split([1, 5, 18])])
    # The same numbers enter; products of another shape may add them in another order. Fields are of size 5.
    torch.testing.assert_close(parts, whole, rtol=0, atol=2e-6)
    if fold == "redraw":
        first = KeyedRandomness(0, indices, 1, Purpose.DEFORMATION)
        ignoring = Diffeomorphism(2.6, 3, norm=norm, fold="ignore").draw(first, (32, 32), dtype=torch.float32)
        changed = (whole - ignoring).abs().amax(dim=(1, 2, 3)) > 1e-3
        assert torch.equal(changed, folds(ignoring))
        assert 2 < changed.sum() < 15


# Folding.


@pytest.mark.parametrize(
    ("n", "cutoff", "share", "published"),
    [
        (32, 3, 1.0, 0.373),
        (32, 3, 0.5, 0.057),
        (32, 3, 0.25, 0.0022),
        (32, 5, 1.0, 0.332),
        (224, 3, 1.0, 0.338),
        (224, 5, 1.0, 0.303),
        (224, 10, 1.0, 0.139),
        (224, 15, 1.0, 0.071),
    ],
)
def test_fold_probability_at_the_published_limit(n: int, cutoff: int, share: float, published: float):
    hottest = temperature_range(n, cutoff)[1]
    tau = Diffeomorphism(temperature=share * hottest, cutoff=cutoff, fold="ignore")
    probability = tau.fold_probability((n, n))
    # The table was made with another Jacobian (ours takes the least corner of each cell and so folds a little more
    # often: 0.03 allows for it); ours comes from 512 draws.
    error = math.sqrt(published * (1 - published) / 512)
    assert -4 * error < probability - published < 0.03 + 4 * error


@pytest.mark.parametrize("norm", ["gaussian", "fixed"])
@pytest.mark.parametrize(
    ("displacement", "size", "draws"), [(2.6, (32, 32), 2000), (1.8, (20, 33), 2000), (18.0, (224, 224), 200)]
)
def test_fold_probability_is_that_of_the_sampled_fields(
    displacement: float, size: tuple[int, int], draws: int, norm: str
):
    tau = Diffeomorphism(displacement, 3, norm=norm, fold="ignore")
    generator = seeded(0)
    folded = [folds(tau.sample(20, size, generator=generator)) for _ in range(draws // 20)]
    share = torch.cat(folded).double().mean().item()
    error = math.sqrt(share * (1 - share) * (1 / draws + 1 / 512))
    assert 0.1 < share < 0.6
    assert abs(tau.fold_probability(size) - share) < 4 * error


def test_at_the_setting_of_the_paper_nothing_folds():
    field = Diffeomorphism.published(1.0, 3).sample(5000, (32, 32), generator=seeded(0))
    assert fold_fraction(field).max() == 0  # the table's remark: 0 of 40 000
    assert Diffeomorphism.published(1.0, 3).fold_probability((32, 32)) == 0


def test_folding_is_warned_of_once():
    module._warn_of_folding.cache_clear()
    with pytest.warns(UserWarning, match=r'about \d+\.\d% of the.*displacement 2 px.*32x32.*fold="redraw"') as caught:
        Diffeomorphism(2.0, 3).sample(1, (32, 32), generator=seeded(0))
    assert len(caught) == 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        same = Diffeomorphism(2.0, 3)
        same.sample(1, (32, 32), generator=seeded(0))
        same(torch.rand(1, 3, 32, 32), generator=seeded(0))
        Diffeomorphism(2.0, 3, fold="ignore").sample(1, (30, 30), generator=seeded(0))
        Diffeomorphism(1.0, 3).sample(1, (32, 32), generator=seeded(0))
    assert not caught
    with pytest.warns(UserWarning, match="30x30"):  # another ensemble, another warning
        same.sample(1, (30, 30), generator=seeded(0))


def test_redrawn_fields_do_not_fold_and_what_that_did_is_reported():
    tau = Diffeomorphism(2.2, 3, fold="redraw")
    assert math.isnan(tau.acceptance.share)
    assert math.isnan(tau.acceptance.rms)
    field = tau.sample(600, (32, 32), generator=seeded(0))
    assert fold_fraction(field).max() == 0
    assert not folds(field).any()
    free = Diffeomorphism(2.2, 3, fold="ignore").sample(4000, (32, 32), generator=seeded(1))
    kept = free[~folds(free)]
    share = len(kept) / len(free)
    assert 0.6 < share < 0.95
    assert tau.acceptance.kept == 600
    error = math.sqrt(share * (1 - share) / tau.acceptance.tried)
    assert abs(tau.acceptance.share - share) < 5 * error
    # What is kept is the ensemble conditioned on not folding: weaker, and exactly as strong as reported.
    assert tau.acceptance.rms == pytest.approx(power_per_field(field).mean().sqrt().item(), rel=1e-5)
    assert tau.acceptance.rms < 0.98 * tau.displacement((32, 32))
    within_errors(power_per_field(field), power_per_field(kept).mean().item(), coarsest=0.03)
    tau(torch.rand(7, 3, 32, 32), generator=seeded(2))
    assert tau.acceptance.kept == 607


def test_redrawing_changes_only_what_folds():
    free = Diffeomorphism(2.2, 3, fold="ignore").sample(200, (32, 32), generator=seeded(0))
    redrawn = Diffeomorphism(2.2, 3, fold="redraw").sample(200, (32, 32), generator=seeded(0))
    folded = folds(free)
    assert 10 < folded.sum() < 100
    torch.testing.assert_close(redrawn[~folded], free[~folded], rtol=0, atol=1e-6)
    assert ((redrawn - free).abs().amax(dim=(1, 2, 3)) > 1e-3).equal(folded)


def test_redrawing_is_refused_where_most_fields_fold():
    tau = Diffeomorphism(3.2, 3, fold="redraw")
    assert 0.5 < tau.fold_probability((32, 32)) < 0.7
    with pytest.raises(ValueError, match=r"less than half of the draws may fold.*displacement 3.2 px and cutoff 3"):
        tau.sample(1, (32, 32), generator=seeded(0))


def test_tries_are_bounded(monkeypatch: pytest.MonkeyPatch):
    assert module._MOST_TRIES == 16
    monkeypatch.setattr(module, "_MOST_TRIES", 1)
    with pytest.raises(ValueError, match=r"at most 1 tries.*of 200 images did not get one"):
        Diffeomorphism(2.2, 3, fold="redraw").sample(200, (32, 32), generator=seeded(0))


# What it says, and what it refuses.


def test_repr_shows_amplitude_temperature_and_folding():
    shown = repr(Diffeomorphism.published(1.0, 3))
    assert "displacement=0.8162 px" in shown
    assert "cutoff=3" in shown
    assert "temperature=0.00113" in shown  # 4 / (π 32² ln 3) = 1.1318e-3
    assert "P(fold)=0 at 32x32" in shown
    assert "P(fold)=0.3" in repr(Diffeomorphism(temperature=temperature_range(32, 3)[1], fold="redraw"))
    assert "at 42x42" in repr(Diffeomorphism(cutoff=40, fold="ignore"))  # the smallest size that resolves it


def test_description_is_complete():
    about = Diffeomorphism.published(1.0, 3, norm="fixed", fold="redraw", interpolation="bicubic").describe((32, 32))
    assert about["kind"] == "Diffeomorphism"
    assert about["displacement"] == pytest.approx(0.8162, abs=5e-5)
    assert about["delta"] == pytest.approx(1)
    assert about["temperature"] == pytest.approx(1.1318e-3, rel=1e-4)
    words = (about["cutoff"], about["norm"], about["fold"], about["interpolation"])
    assert words == (3, "fixed", "redraw", "bicubic")


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Diffeomorphism(1.0, temperature=1e-3), r"give one; got displacement=1.0 and temperature=0.001"),
        (lambda: Diffeomorphism(-1.0), r"displacement must be finite and not negative; got -1"),
        (lambda: Diffeomorphism(math.nan), r"displacement must be finite.*got nan"),
        (lambda: Diffeomorphism(math.inf), r"displacement must be finite.*got inf"),
        (lambda: Diffeomorphism(temperature=-1e-3), r"temperature must be finite and not negative; got -0.001"),
        (lambda: Diffeomorphism(1.0, 0), r"cutoff must be a whole number >= 1.*got 0"),
        (lambda: Diffeomorphism(1.0, 2.5), r"cutoff must be a whole number.*got 2.5"),
        (lambda: Diffeomorphism(1.0, True), r"cutoff must be a whole number.*got True"),
        (lambda: Diffeomorphism(norm="unit"), r"norm must be one of gaussian, fixed; got 'unit'"),
        (lambda: Diffeomorphism(fold="no"), r"fold must be one of warn, redraw, ignore; got 'no'"),
        (lambda: Diffeomorphism(interpolation="cubic"), r"interpolation must be one of bilinear.*got 'cubic'"),
        (lambda: Diffeomorphism.published(1.0, 1), r"at least 2.*ln\(c\); got 1"),
        (lambda: Diffeomorphism.published(-1.0), r"delta must be finite and not negative; got -1"),
        (lambda: Diffeomorphism.published(1.0, temperature=1e-3), r"fixes the temperature.*got temperature=0.001"),
        (lambda: Diffeomorphism(1.0, 7).sample(1, (8, 8), generator=seeded(0)), r"= 6, the modes 8x8.*got 7"),
        (lambda: Diffeomorphism(1.0, 3)(torch.rand(1, 1, 40, 4), generator=seeded(0)), r"= 2, the modes 40x4.*got 3"),
        (lambda: Diffeomorphism(1.0, 7).displacement((8, 8)), r"= 6.*got 7"),
    ],
)
def test_what_is_refused(make, message: str):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("size", [(28, 32), (32, 45)])
@pytest.mark.parametrize("cutoff", [2, 3, 7])
def test_the_displacement_asked_for_is_told_to_the_last_bit(cutoff, size):
    for displacement in (0.3, 0.7, 0.816, 1.1):
        assert Diffeomorphism(displacement, cutoff).displacement(size) == displacement
    with pytest.raises(ValueError, match="cutoff must be"):
        Diffeomorphism(0.7, 40).displacement(size)
