"""D, G and R from sums: against slow loops over equation 1, cases by hand, the jackknife, and many experiments."""

import itertools
import math
from dataclasses import replace

import hypothesis.strategies as st
import pytest
import scipy.stats
import torch
from hypothesis import given
from torch import Tensor

from helpers import seeded
from poolscope.sensitivity import Estimate
from poolscope.sensitivity.estimate import epsilon, estimate, quantile_t
from poolscope.sensitivity.moments import Covariance, Offset, Scratch, contribution

EPS = 2.0**-52
NUMBERS = ("D", "D_se", "G", "G_se", "R", "R_se", "R_low", "R_high")


def streamed(
    clean: Tensor,
    moved: Tensor,
    noisy: Tensor,
    centre: Tensor,
    cuts: list[int] | None = None,
    *,
    identical_pairs: bool = False,
) -> Estimate:
    """Run ``[N, F]`` clean and ``[draws, N, F]`` perturbed representations through the library's own sums."""
    offset, moments, scratch = Offset(centre), Covariance(3), Scratch()
    batches = (clean.tensor_split(cuts or []), moved.tensor_split(cuts or [], 1), noisy.tensor_split(cuts or [], 1))
    for f, f_moved, f_noisy in zip(*batches, strict=True):
        part = contribution(f, f_moved, f_noisy, centre, scratch)
        offset.add(part.offset)
        moments.update(torch.stack([part.deformation, part.noise, part.distance]))
    count = moments.count
    return estimate(
        count,
        moments.mean,
        moments.covariance,
        offset.mean_square(count),
        offset.mean_power(count),
        eps=epsilon(clean.dtype),
        identical_pairs=identical_pairs,
    )


def case(images: int = 12, *, mean: float = 0.0, draws: int = 2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Skewed f(x), and perturbations whose size depends on the image: every covariance is different from zero."""
    generator = seeded(seed)
    clean = torch.randn(images, 5, generator=generator, dtype=torch.float64).exp()
    size = clean.norm(dim=1, keepdim=True)
    moved = clean + 0.1 * size * torch.randn(draws, images, 5, generator=generator, dtype=torch.float64)
    noisy = clean + 0.2 * torch.randn(draws, images, 5, generator=generator, dtype=torch.float64)
    return clean + mean, moved + mean, noisy + mean


def assert_close(found: Estimate, tolerance: float = 1e-12, **expected: float) -> None:
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=tolerance), name


def numbers(found: Estimate) -> dict[str, float]:
    return {name: value for name, value in found.columns().items() if isinstance(value, float)}


def powers_by_definition(clean: Tensor, moved: Tensor, noisy: Tensor, *, identical_pairs: bool) -> tuple[float, ...]:
    """Return the three averages of equation 1 in loops over images, draws and pairs."""
    deformation, noise = (
        [math.fsum((draw[image] - clean[image]).square()) for draw in perturbed for image in range(len(clean))]
        for perturbed in (moved, noisy)
    )
    pairs = itertools.product(clean, repeat=2) if identical_pairs else itertools.permutations(clean, 2)
    spread = [math.fsum((first - second).square()) for first, second in pairs]
    return tuple(math.fsum(values) / len(values) for values in (deformation, noise, spread))


@given(cuts=st.sets(st.integers(1, 11)), mean=st.sampled_from([0.0, 1e3]), identical_pairs=st.booleans())
def test_equation_1_in_slow_loops(cuts: set[int], mean: float, identical_pairs: bool) -> None:
    clean, moved, noisy = case(mean=mean)
    found = streamed(clean, moved, noisy, clean[:3].mean(dim=0), sorted(cuts), identical_pairs=identical_pairs)
    a, b, s = powers_by_definition(clean, moved, noisy, identical_pairs=identical_pairs)
    # Every difference is rounded by 1e3 · 2^-53 = 1e-13 at most, beside sizes of order 0.1.
    assert_close(found, 1e-11, deformation_power=a, noise_power=b, spread=s, D=a / s, G=b / s, R=a / b)
    assert found.note == ""


def test_two_images_by_hand() -> None:
    clean = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    moved = clean + torch.tensor([[1.0], [3.0]])
    noisy = clean + torch.tensor([[2.0], [1.0]])
    found = streamed(clean, moved[None], noisy[None], torch.tensor([1.0], dtype=torch.float64))
    # a = 1, 9; b = 4, 1; q = 2, 2 (so that the spread adds no error); spread = (2 - 0)².
    assert_close(found, deformation_power=5, noise_power=2.5, spread=4, D=5 / 4, G=2.5 / 4, R=2)
    # variances of the means: 32 / 2 and 4.5 / 2, covariance -12 / 2
    relative = math.sqrt(16 / 5**2 + 2.25 / 2.5**2 + 2 * 6 / (5 * 2.5))
    assert relative == pytest.approx(1.4)
    assert_close(found, D_se=math.sqrt(16) / 4, G_se=math.sqrt(2.25) / 4, R_se=2 * relative)
    reach = math.tan(0.475 * math.pi) * relative  # the quantile of Student's t with one degree of freedom
    assert_close(found, R_low=2 * math.exp(-reach), R_high=2 * math.exp(reach))


def test_errors_of_the_spread_by_hand() -> None:
    clean = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    moved, noisy = clean + torch.tensor([[1.0], [3.0]]), clean + torch.tensor([[2.0], [1.0]])
    found = streamed(clean, moved[None], noisy[None], torch.zeros(1, dtype=torch.float64))
    # About c = 0: q = 0, 8; variance of its mean 32 / 2, covariances with a = 1, 9: 32 / 2, with b = 4, 1: -12 / 2.
    # They are relative to 2 Σ |f - mean|² / N = 2, the mean of q about the mean of f.
    assert_close(found, D=5 / 4, G=2.5 / 4, spread=4)
    assert_close(found, D_se=5 / 4 * math.sqrt(16 / 5**2 + 16 / 2**2 - 2 * 16 / (5 * 2)))
    assert_close(found, G_se=2.5 / 4 * math.sqrt(2.25 / 2.5**2 + 16 / 2**2 + 2 * 6 / (2.5 * 2)))


def test_identical_pairs_make_the_spread_smaller_by_one_in_n() -> None:
    clean, moved, noisy = case(7)
    text, published = (streamed(clean, moved, noisy, clean[0], identical_pairs=choice) for choice in (False, True))
    for name in ("D", "D_se", "G", "G_se"):
        assert getattr(published, name) == pytest.approx(7 / 6 * getattr(text, name), rel=1e-14), name
    assert published.spread == pytest.approx(6 / 7 * text.spread, rel=1e-14)
    same = dict.fromkeys(("D", "D_se", "G", "G_se", "spread"), 0.0)
    assert replace(published, **same) == replace(text, **same)


def test_the_order_of_images_does_not_matter() -> None:
    clean, moved, noisy = case(50)
    order = torch.randperm(50, generator=seeded(5))
    one = streamed(clean, moved, noisy, clean[:16].mean(dim=0))
    other = streamed(clean[order], moved[:, order], noisy[:, order], clean[:16].mean(dim=0), [13, 14])
    assert_close(other, **numbers(one))


def test_powers_scale_as_the_square_and_r_does_not() -> None:
    clean, moved, noisy = case(20)
    f = 1000.0
    one, scaled = streamed(clean, moved, noisy, clean[0]), streamed(f * clean, f * moved, f * noisy, f * clean[0])
    powers = ("deformation_power", "noise_power", "spread")
    assert_close(scaled, **{name: (f * f if name in powers else 1) * value for name, value in numbers(one).items()})


def sums(**changes: float) -> dict[str, object]:
    """Arguments of ``estimate`` for a case without peculiarities, spread 8 / 3."""
    values = {"a": 1.0, "b": 2.0, "q": 2.0, "mean_power": 4.0, **changes}
    return {
        "count": 4,
        "mean": torch.tensor([values["a"], values["b"], values["q"]], dtype=torch.float64),
        "covariance": torch.diag(torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)),
        "offset_square": 0.0,
        "mean_power": values["mean_power"],
        "eps": EPS,
    }


def test_the_plain_case_is_finite() -> None:
    found = estimate(**sums())
    assert_close(found, spread=8 / 3, D=3 / 8, G=6 / 8, R=1 / 2)
    assert found.note == ""
    assert all(math.isfinite(value) for name, value in found.columns().items() if name != "note")
    assert found.R_low < found.R == 0.5 < found.R_high


@pytest.mark.parametrize("eps", [2.0**-52, 2.0**-23, 2.0**-7])
@pytest.mark.parametrize(("times", "constant"), [(0.999, True), (1.001, False)])
def test_a_spread_below_rounding_is_no_number(eps: float, times: float, constant: bool) -> None:
    # q / 2 = E|f - mean|² = 3: a spread of 8 for 4 images. E|f|² = 3 + |mean|² puts it at the limit but for ``times``.
    mean_power = 8 / (8 * eps) ** 2 / times - 3
    found = estimate(**{**sums(q=6, mean_power=mean_power), "eps": eps})
    assert_close(found, spread=8, deformation_power=1, noise_power=2)
    if constant:
        assert found.note == "constant: the spread over images is not above rounding"
        assert all(math.isnan(getattr(found, name)) for name in NUMBERS)
    else:
        assert found.note == ""
        assert_close(found, D=1 / 8, G=2 / 8)


def test_no_spread_at_all_is_no_number() -> None:
    for changes in ({"q": 0.0}, {"q": 0.0, "mean_power": 0.0}):
        found = estimate(**sums(**changes))
        assert found.note.startswith("constant")
        assert all(math.isnan(getattr(found, name)) for name in NUMBERS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_images_that_differ_by_rounding_alone_are_constant(dtype: torch.dtype) -> None:
    # One spacing up or down is below 8 eps, 100 spacings are above.
    flips = torch.randint(0, 2, (20, 30), generator=seeded(0)).double()
    for spacings, note in ((0, "constant"), (1, "constant"), (100, "")):
        clean = (1 + spacings * epsilon(dtype) * flips).to(dtype)
        moved = (clean.double() + 0.5).to(dtype)[None]
        working = torch.float64 if dtype == torch.float64 else torch.float32
        found = streamed(clean, moved, moved, clean[:4].double().mean(dim=0).to(working))
        assert found.note.startswith(note)
        assert bool(found.note) == bool(note)
        assert math.isnan(found.D) == bool(note)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("which", ["clean", "moved", "noisy"])
def test_one_number_that_is_not_finite(which: str, bad: float) -> None:
    parts = dict(zip(("clean", "moved", "noisy"), case(), strict=True))
    parts[which].view(-1)[7] = bad
    found = streamed(*parts.values(), parts["clean"].mean(dim=0))
    assert found.note == "not finite"
    assert all(math.isnan(getattr(found, name)) for name in ("spread", *NUMBERS))


def test_no_response_to_the_deformation() -> None:
    clean, _, noisy = case()
    found = streamed(clean, clean.expand(2, -1, -1), noisy, clean[0])
    assert (found.D, found.D_se, found.R, found.R_se) == (0, 0, 0, 0)
    assert math.isnan(found.R_low)
    assert math.isnan(found.R_high)
    assert found.note == "no response to the deformation"
    assert found.G > 0
    assert found.G_se > 0


def test_no_response_to_the_noise() -> None:
    clean, moved, _ = case()
    found = streamed(clean, moved, clean.expand(2, -1, -1), clean[0])
    assert (found.G, found.G_se) == (0, 0)
    assert all(math.isnan(getattr(found, name)) for name in ("R", "R_se", "R_low", "R_high"))
    assert found.note == "no response to the noise"
    assert found.D > 0
    assert found.D_se > 0


def test_equal_perturbations_have_r_one_without_an_error() -> None:
    clean, moved, _ = case()
    found = streamed(clean, moved, moved, clean[0])
    assert (found.R, found.R_se, found.R_low, found.R_high) == (1, 0, 1, 1)
    assert (found.D, found.D_se) == (found.G, found.G_se)


@pytest.mark.parametrize("factor", [1e100, 1e-100])
def test_extreme_sizes_raise_nothing(factor: float) -> None:
    # Powers near 1e±200, their squares beyond float64: the errors may be lost, the ratios must not be.
    clean, moved, noisy = case()
    plain, found = (streamed(f * clean, f * moved, f * noisy, f * clean[0]) for f in (1.0, factor))
    assert_close(found, D=plain.D, G=plain.G, R=plain.R)


@pytest.mark.parametrize("degrees", [1, 2, 10, 63, 499, 10_000])
def test_quantile_of_student(degrees: int) -> None:
    assert quantile_t(degrees) == pytest.approx(scipy.stats.t.ppf(0.975, degrees), rel=1e-9)


def test_standard_errors_are_those_of_the_jackknife() -> None:
    images = 300
    clean, moved, noisy = case(images, draws=1)
    # c is the mean: q is then the influence of an image on the spread
    found = streamed(clean, moved, noisy, clean.mean(dim=0))
    left_out: dict[str, list[float]] = {name: [] for name in ("D", "G", "R")}
    for image in range(images):
        kept = torch.arange(images) != image
        without = streamed(clean[kept], moved[:, kept], noisy[:, kept], clean.mean(dim=0))
        for name, values in left_out.items():
            values.append(getattr(without, name))
    for name, values in left_out.items():
        jackknife = math.sqrt((images - 1) ** 2 / images) * float(torch.tensor(values, dtype=torch.float64).std())
        # Both are of the same order-1/N expansion; they differ by the next order, a few 1/N times the kurtosis of q.
        assert getattr(found, f"{name}_se") == pytest.approx(jackknife, rel=0.05), name


def test_a_reference_of_n_images_widens_the_error_of_the_spread_by_two_in_n() -> None:
    # Var |f - c|² over Var |f - mean|² for Gaussian f: 1 + 2 |c - mean|²_Σ / tr Σ², whose mean over c is 1 + 2 / n.
    trials, images, features, first = 400, 400, 6, 16
    clean = torch.randn(trials, images, features, generator=seeded(0), dtype=torch.float64)
    unmoved = clean[:, None]
    ratios = []
    for f, still in zip(clean, unmoved, strict=True):
        parts = [contribution(f, still, still, centre, Scratch()) for centre in (f[:first].mean(dim=0), f.mean(dim=0))]
        ratios.append(float(parts[0].distance.var() / parts[1].distance.var()))
    found = torch.tensor(ratios, dtype=torch.float64)
    error = float(found.std()) / math.sqrt(trials)
    assert error < 0.01, f"standard error {error:.2g} is too coarse to judge {2 / first}"
    # c is made of images of the same sample, which takes n / N = 1 / 25 of the effect away
    assert abs(float(found.mean()) - 1 - 2 / first * (1 - first / images)) < 4 * error


def test_standard_errors_are_the_scatter_of_many_experiments() -> None:
    experiments, images = 1000, 200
    generator = seeded(1)
    # The deformation grows with the image: a and q are correlated, and the spread adds to the error of G as much as b.
    clean = torch.randn(experiments, images, 4, generator=generator, dtype=torch.float64)
    clean *= 1 + 0.5 * torch.rand(experiments, images, 1, generator=generator, dtype=torch.float64)
    first, second = torch.randn(2, *clean.shape, generator=generator, dtype=torch.float64)
    moved = clean + 0.3 * clean.norm(dim=-1, keepdim=True) * first
    noisy = clean + 0.2 * second
    found = [
        streamed(f, f_moved[None], f_noisy[None], f[:16].mean(dim=0))
        for f, f_moved, f_noisy in zip(clean, moved, noisy, strict=True)
    ]
    for name in ("D", "G", "R"):
        values = torch.tensor([getattr(one, name) for one in found], dtype=torch.float64)
        squares = torch.tensor([getattr(one, f"{name}_se") for one in found], dtype=torch.float64).square()
        ratio = float(squares.mean() / values.var())
        error = math.sqrt(2 / experiments)  # of a variance of nearly normal values
        # c is the mean of 16 images: the variance of q, at most the whole one here, is 1 + 2 / 16 times too large.
        low, high = 1 - 4 * error, (1 if name == "R" else 1 + 2 / 16) + 4 * error
        assert error < 0.05
        assert low < ratio < high, f"{name}: mean square of the standard error over the variance is {ratio:.3f}"
