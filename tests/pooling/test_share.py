"""Errors crossed over images and shuffles: unbiased, intervals that hold the truth, derivatives, and when it is nan."""

import itertools
import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from helpers import seeded
from poolscope.pooling.share import Crossed, crossed, log_ratios, spatial_share

EXPERIMENTS = 2000


def covariance(rows: Tensor) -> Tensor:
    """Of columns over rows, float64 ``[p, p]``."""
    centred = rows - rows.mean(dim=0)
    return centred.T @ centred / (len(rows) - 1)


def table(images: int, draws: int, parts: tuple[float, float, float], generator: torch.Generator) -> Tensor:
    """Independent effects of images, of shuffles, and of each pair, with these standard deviations; mean 0."""
    sizes = ((images, 1), (1, draws), (images, draws))
    effects = (torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes)
    return sum(part * effect for part, effect in zip(parts, effects, strict=True))  # type: ignore[return-value]


def of_table(values: Tensor) -> Crossed:
    """Each shuffle's statistic is the mean of its own column."""
    draws = values.shape[1]
    return crossed(values.mean(dim=0), torch.eye(draws, dtype=torch.float64), covariance(values), len(values))


# Coverage is 0.95 where one of the samples matters. Where all variance is interaction the error is too large on
# purpose: one cannot know that the scatter over shuffles is nothing but it.
DOMINATED = {
    "images": ((1.0, 0.01, 0.1), 0.93, 0.97),
    "shuffles": ((0.1, 1.0, 0.1), 0.93, 0.97),
    "interaction": ((0.0, 0.0, 1.0), 0.96, 1.0),
}


@pytest.mark.parametrize("by", DOMINATED)
@pytest.mark.parametrize(("draws", "images"), list(itertools.product((4, 8), (50, 200))))
def test_95_percent_intervals_contain_the_truth(draws: int, images: int, by: str) -> None:
    parts, least, most = DOMINATED[by]
    generator = seeded(draws * images)
    found = [of_table(table(images, draws, parts, generator)) for _ in range(EXPERIMENTS)]
    share = sum(one.low <= 0 <= one.high for one in found) / EXPERIMENTS
    assert math.sqrt(0.95 * 0.05 / EXPERIMENTS) < 0.005, "the number of experiments must tell 0.95 from 0.93 and 0.97"
    print(f"{by}, {draws} shuffles, {images} images: {share:.4f}")
    assert least <= share <= most


@pytest.mark.parametrize(("draws", "images"), [(4, 50), (8, 20)])
@pytest.mark.parametrize("by", ["all three", "images", "shuffles"])
def test_the_variance_estimate_is_right_on_average(draws: int, images: int, by: str) -> None:
    """The three components add up once each, as in var(mean) = σ²_i / N + σ²_s / S + σ²_is / (N S)."""
    together = (images**0.5, draws**0.5, 0.6 * (images * draws) ** 0.5)
    parts = together if by == "all three" else DOMINATED[by][0]
    exact = parts[0] ** 2 / images + parts[1] ** 2 / draws + parts[2] ** 2 / (images * draws)
    generator = seeded(3)
    found = torch.tensor(
        [of_table(table(images, draws, parts, generator)).se ** 2 for _ in range(EXPERIMENTS)], dtype=torch.float64
    )
    error = float(found.std()) / EXPERIMENTS**0.5
    assert error < 0.02 * exact, f"standard error {error:.2g} is too coarse to judge {exact:.4g}"
    # The lower bounds (never below one of the two parts) bind now and then, which adds a percent or two here; the
    # interaction counted twice would add 0.36 / 2.36 = 15 %.
    assert -4 * error < float(found.mean()) - exact < 0.02 * exact + 4 * error


def test_one_formula_by_hand() -> None:
    values = table(30, 5, (4.0, 2.0, 5.0), seeded(1))
    images, draws = values.shape
    interaction = values - values.mean(dim=0) - values.mean(dim=1, keepdim=True) + values.mean()
    over_images = float(values.mean(dim=1).var()) / images
    over_draws = float(values.mean(dim=0).var()) / draws
    both = float(interaction.square().sum()) / ((images - 1) * (draws - 1)) / (images * draws)
    variance = over_images + over_draws - both
    assert variance > max(over_images, over_draws)
    degrees = variance**2 / (
        over_images**2 / (images - 1) + over_draws**2 / (draws - 1) + both**2 / ((images - 1) * (draws - 1))
    )
    found = of_table(values)
    assert found.value == pytest.approx(float(values.mean()), rel=1e-12)
    assert found.se == pytest.approx(math.sqrt(variance), rel=1e-12)
    reach = stats.t.ppf(0.975, degrees) * found.se
    assert (found.low, found.high) == pytest.approx((found.value - reach, found.value + reach), rel=1e-12)


def test_one_shuffle_has_no_error_and_no_scatter_has_error_0() -> None:
    alone = of_table(table(30, 1, (1.0, 1.0, 1.0), seeded(1)))
    assert math.isfinite(alone.value)
    assert all(math.isnan(number) for number in (alone.se, alone.low, alone.high))
    constant = of_table(torch.full((30, 4), 2.0, dtype=torch.float64))
    assert constant == Crossed(2.0, 0.0, 2.0, 2.0)


# --- the share and its derivatives -----------------------------------------------------------------------------------


def powers(images: int, draws: int, seed: int = 0, fall: float = 1.0) -> Tensor:
    """Positive per-image (a, b) of input, network and shuffles, ``[images, p]``; log R falls by about ``fall``."""
    generator = seeded(seed)
    common = torch.randn(images, 1, generator=generator, dtype=torch.float64)
    own = torch.randn(images, 2 * (2 + draws), generator=generator, dtype=torch.float64)
    level = torch.zeros(2 * (2 + draws), dtype=torch.float64)
    level[2] = -fall
    level[4::2] = -fall * (0.3 + 0.2 * torch.rand(draws, generator=generator, dtype=torch.float64))
    return (level + 0.5 * common + 0.2 * own).exp()


def shares(mean: Tensor) -> Tensor:
    """The definition, one share for each shuffle."""
    logs = (mean[0::2] / mean[1::2]).log()
    return (logs[2:] - logs[0]) / (logs[1] - logs[0])


def test_share_and_error_against_automatic_derivatives() -> None:
    rows = powers(40, 4)
    mean, joint = rows.mean(dim=0), covariance(rows)
    found = spatial_share(mean, joint, 40)
    gradients = torch.autograd.functional.jacobian(shares, mean)
    expected = crossed(shares(mean), gradients, joint, 40)
    for name in ("value", "se", "low", "high"):
        assert getattr(found.share, name) == pytest.approx(getattr(expected, name), rel=1e-11)
    assert found.note == ""
    # Not clipped, and the mean of the shares is the share of the geometric mean.
    logs = (mean[0::2] / mean[1::2]).log()
    assert found.shuffled.value == pytest.approx(float(logs[2:].mean().exp()), rel=1e-12)
    assert found.share.value == pytest.approx(
        math.log(found.shuffled.value / float(mean[0] / mean[1])) / float(logs[1] - logs[0]), rel=1e-11
    )


def test_r_shuffled_and_log_ratios_against_automatic_derivatives() -> None:
    rows = powers(40, 4)
    mean, joint = rows.mean(dim=0), covariance(rows)

    def logs(values: Tensor) -> Tensor:
        return (values[0::2] / values[1::2]).log()[2:]

    expected = crossed(logs(mean), torch.autograd.functional.jacobian(logs, mean), joint, 40)
    found = spatial_share(mean, joint, 40).shuffled
    assert math.log(found.value) == pytest.approx(expected.value, rel=1e-11)
    assert found.se == pytest.approx(found.value * expected.se, rel=1e-11)
    assert (math.log(found.low), math.log(found.high)) == pytest.approx((expected.low, expected.high), rel=1e-11)

    def ratios(values: Tensor) -> Tensor:
        log_R = (values[0::2] / values[1::2]).log()
        return log_R[1:] - log_R[0]

    own, own_joint = mean[2:], joint[2:, 2:]
    expected = crossed(ratios(own), torch.autograd.functional.jacobian(ratios, own), own_joint, 40)
    against = log_ratios(own, own_joint, 40)
    assert (against.value, against.se, against.low) == pytest.approx(
        (expected.value, expected.se, expected.low), rel=1e-11
    )


def test_shares_below_0_and_above_1_are_given_as_they_are() -> None:
    mean = torch.tensor([1.0, 1.0, 0.5, 1.0, 2.0, 1.0, 2.0, 1.0], dtype=torch.float64)
    nothing = torch.zeros(8, 8, dtype=torch.float64)
    assert spatial_share(mean, nothing, 10).share.value == pytest.approx(-1, rel=1e-12)
    mean[4] = mean[6] = 0.125
    assert spatial_share(mean, nothing, 10).share.value == pytest.approx(3, rel=1e-12)
    mean[2], mean[4], mean[6] = 4.0, 2.0, 2.0  # a network that raises R
    assert spatial_share(mean, nothing, 10).share.value == pytest.approx(0.5, rel=1e-12)


@pytest.mark.parametrize(("offset", "given"), [(-0.01, False), (0.01, True)])
def test_nan_exactly_where_the_interval_of_the_denominator_contains_0(offset: float, given: bool) -> None:
    count, error = 30, 0.1
    joint = torch.zeros(8, 8, dtype=torch.float64)
    joint[3, 3] = error**2 * count  # b of the network, whose mean is 1: the standard error of log R is 0.1
    fall = (1 + offset) * stats.t.ppf(0.975, count - 1) * error
    for sign in (-1, 1):
        mean = torch.ones(8, dtype=torch.float64)
        mean[2] = math.exp(sign * fall)
        found = spatial_share(mean, joint, count)
        assert math.isfinite(found.share.value) == given
        expected = "by less than 4 standard errors" if given else "does not differ measurably from the input's"
        assert expected in found.note
        assert found.shuffled.value == pytest.approx(1)


def test_what_the_notes_say() -> None:
    nothing = torch.zeros(6, 6, dtype=torch.float64)
    same = spatial_share(torch.tensor([1.0, 1.0, 0.5, 1.0, 0.5, 1.0], dtype=torch.float64), nothing, 10)
    assert (same.share.value, same.note) == (1.0, "shuffling changes nothing here")
    one = spatial_share(torch.tensor([1.0, 1.0, 0.5, 1.0, 0.7, 1.0], dtype=torch.float64), nothing, 10)
    assert one.note == "one shuffle: its standard error is not known"
    assert math.isnan(one.share.se)
    rounding = spatial_share(torch.tensor([1.0, 1.0, 1 + 1e-7, 1.0, 2.0, 1.0], dtype=torch.float64), nothing, 10)
    assert rounding.note == "R does not differ measurably from the input's: nothing to share out"
    for bad in (0.0, math.nan, math.inf):
        found = spatial_share(torch.tensor([1.0, 1.0, 0.5, 1.0, bad, 1.0], dtype=torch.float64), nothing, 10)
        assert found.note == "R is not defined and positive for the network and all shuffled copies"
        assert math.isnan(found.share.value)
        assert math.isnan(found.shuffled.value)


def test_an_interval_too_wide_for_a_number_is_infinite() -> None:
    mean = torch.tensor([1.0, 1.0, 0.5, 1.0, 1e-80, 1.0, 1e80, 1.0], dtype=torch.float64)
    found = spatial_share(mean, torch.zeros(8, 8, dtype=torch.float64), 10)
    assert (found.shuffled.low, found.shuffled.high) == (0.0, math.inf)


def test_an_uncertain_denominator_makes_rough_shares_and_clear_ones_honest() -> None:
    """The share's true value is 1/2: R falls by a number of standard errors, and the shuffled copies' by half of it."""
    images, draws, sd = 100, 8, 0.5
    relative = math.sqrt(2 * math.expm1(sd**2) / images)  # standard error of the network's log R
    generator = seeded(5)

    def outcome(errors: float) -> tuple[float, float]:
        hits, given = 0, 0
        for _ in range(600):
            normal = torch.randn(images, 2 + 2 * draws, generator=generator, dtype=torch.float64)
            level = torch.zeros(2 + 2 * draws, dtype=torch.float64)
            level[0], level[2::2] = -errors * relative, -errors * relative / 2
            level[2::2] += 0.1 * relative * torch.randn(draws, generator=generator, dtype=torch.float64)
            rows = torch.cat([torch.ones(images, 2, dtype=torch.float64), (level + sd * normal).exp()], dim=1)
            found = spatial_share(rows.mean(dim=0), covariance(rows), images)
            given += math.isfinite(found.share.value)
            hits += found.share.low <= 0.5 <= found.share.high
        return hits / given, given / 600

    coverage, given = outcome(8.0)
    assert given == 1
    assert 0.92 < coverage < 0.98  # standard error 0.009
    rough, given = outcome(2.0)
    assert 0.4 < given < 0.6
    assert 0.8 < rough < 0.93  # the docstring says so, and the note marks them
