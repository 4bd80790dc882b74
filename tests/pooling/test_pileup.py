"""Coherent shares against the definition in slow loops, exact cases of section 4, and what they must not depend on."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import poolscope as ps
from helpers import seeded
from poolscope._torchvision import import_torchvision
from poolscope.networks.simple import SimpleCNN
from poolscope.pooling import coherence as coherence_module
from poolscope.pooling.coherence import Coherence, coherence, split_response
from poolscope.sensitivity.estimate import quantile_t
from poolscope.sensitivity.moments import Covariance
from poolscope.sensitivity.perturbing import Perturber

import_torchvision()
from torchvision import models  # noqa: E402

COLUMNS = [
    "layer", "kind", "position", "depth", "features", "images", "draws", "noise_power", "coherent_power",
    "coherent_power_se", "share", "share_se", "share_low", "share_high", "G", "model", "variant", "note",
]  # fmt: skip
NUMBERS = COLUMNS[7:15]


def pileup(model: nn.Module, images: object, *arguments: object, **options: object) -> pd.DataFrame:
    return ps.noise_pileup(model, images, *arguments, progress=False, **options)


def textured(count: int, channels: int = 3, size: int = 8, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(count, channels, size, size, generator=seeded(5), dtype=dtype)


def small_network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        parts = [nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 4, 3), nn.GELU(), nn.Flatten()]
        return nn.Sequential(*parts, nn.Linear(64, 5)).eval()


class Blank(nn.Module):
    """A network that sees the second channel alone, which the images leave black: f(η) of noise by itself."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x[:, 1:])


def black(count: int, *size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Images that differ in their first channel and are 0 in the second."""
    first = torch.randn(count, 1, *size, generator=seeded(6), dtype=dtype)
    return torch.cat([first, torch.zeros_like(first)], dim=1)


def assert_within_errors(row: pd.Series, exact: float, *, relative: float = 0.02, at_zero: float = 0.005) -> None:
    """Hold the share to within 4 standard errors, and these to being small."""
    coarse = relative * exact if exact else at_zero
    assert 0 < row["share_se"] < coarse, f"standard error {row['share_se']:.2g} is too coarse to judge {exact:.4g}"
    found = f"{row['layer']}: {row['share']:.5f} ± {row['share_se']:.5f}, expected {exact:.5f}"
    assert abs(row["share"] - exact) < 4 * row["share_se"], found


# The definition


def slow_powers(model: nn.Sequential, images: Tensor, layers: list[int], draws: int, seed: int) -> np.ndarray:
    """Return coherent and total power and f of every layer and image, by loops over pairs of draws."""
    perturber = Perturber(ps.Diffeomorphism(0.3, 2), ps.MatchedNoise(), seed, draws)
    stack = perturber(images, torch.arange(len(images)))
    versions = [images, *stack[len(images) * (1 + draws) :].split(len(images))]
    found = []
    for layer in layers:
        features = []
        for version in versions:
            with torch.no_grad():
                features.append(model[: layer + 1](version.clone()).flatten(1).numpy())
        for image in range(len(images)):
            deltas = [noisy[image] - features[0][image] for noisy in features[1:]]
            pairs = [float(np.dot(a, b)) for a, b in itertools.permutations(deltas, 2)]
            found.append((np.mean(pairs), np.mean([np.dot(delta, delta) for delta in deltas]), features[0][image]))
    return np.array(found, dtype=object).reshape(len(layers), len(images), 3)


@pytest.mark.parametrize("draws", [2, 5])
def test_the_definition_in_slow_loops(draws: int) -> None:
    model, images, layers = small_network().double(), textured(9, dtype=torch.float64), [1, 3, 5]
    table = pileup(
        model, images, ps.Diffeomorphism(0.3, 2), draws=draws, seed=4, precision="float64", name="net", variant="mine"
    )
    assert list(table.columns) == COLUMNS
    assert table["layer"].tolist() == ["input", "1", "3", "output"]
    assert set(table["model"]) == {"net"}
    assert set(table["variant"]) == {"mine"}
    assert table["depth"].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert (table["note"] == "").all()
    for row, each in zip(table.iloc[1:].to_dict("records"), slow_powers(model, images, layers, draws, 4), strict=True):
        c, t = each[:, 0].astype(float), each[:, 1].astype(float)
        share = c.sum() / t.sum()
        influence = (c - share * t) / t.mean()
        error = influence.std(ddof=1) / 3
        reach = scipy.stats.t(8).ppf(0.975) * error
        distances = [np.sum((a - b) ** 2) for a, b in itertools.permutations(each[:, 2], 2)]
        expected = [t.mean(), c.mean(), c.std(ddof=1) / 3, share, error, share - reach, share + reach]
        # Sums of at most 300 float64 products, of which |Σ δ|² - Σ |δ|² cancels to some hundredth.
        assert [row[name] for name in NUMBERS] == pytest.approx([*expected, t.mean() / np.mean(distances)], rel=1e-11)


@given(draws=st.integers(2, 5), batch=st.integers(1, 4), features=st.integers(1, 9), part=st.integers(1, 40))
def test_a_batch_in_parts(draws: int, batch: int, features: int, part: int) -> None:
    clean, centre = torch.randn(batch, features, generator=seeded(0)), torch.randn(features, generator=seeded(1))
    noisy = torch.randn(draws, batch, features, generator=seeded(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coherence_module, "_PART", part)
        found = split_response(clean, noisy, centre)
    deltas = noisy.double() - clean.double()
    for image in range(batch):
        pairs = [float(a @ b) for a, b in itertools.permutations(deltas[:, image], 2)]
        assert float(found.deformation[image]) == pytest.approx(np.mean(pairs), rel=1e-12, abs=1e-12)
    torch.testing.assert_close(found.noise, deltas.square().sum(dim=2).mean(dim=0))
    assert (found.deformation <= found.noise * (1 + 1e-12)).all()
    torch.testing.assert_close(found.distance, 2 * (clean.double() - centre.double()).square().sum(dim=1))
    torch.testing.assert_close(found.offset, (clean - centre).sum(dim=0))


@pytest.mark.parametrize("noise", [None, ps.GaussianNoise(2.0)])
def test_noise_and_g_are_those_of_measure(noise: ps.GaussianNoise | None) -> None:
    model, images = small_network(), textured(20)
    table = pileup(model, images, noise=noise, draws=3, seed=8)
    expected = ps.measure(model, images, noise=noise, draws=3, seed=8, progress=False).table
    for column in ("noise_power", "G"):
        # float32 features in batches of other sizes, summed in other orders
        np.testing.assert_allclose(table[column], expected[column], rtol=1e-5)


# Exact cases


@pytest.mark.parametrize("noise", [ps.MatchedNoise(), ps.GaussianNoise(10.0)], ids=["matched", "gaussian"])
def test_plain_noise_in_a_linear_network_averages_out(noise: ps.MatchedNoise | ps.GaussianNoise) -> None:
    torch.manual_seed(0)
    linear = SimpleCNN(dim=2, depth=3, channels=4, in_channels=3, activation="linear").eval()
    images = textured(400)
    table = pileup(linear, images, noise=noise, draws=8, layers=linear.representations)
    assert len(table) == 4
    for _, row in table.iterrows():
        assert_within_errors(row, 0)
    relu = SimpleCNN(dim=2, depth=3, channels=4, in_channels=3, activation="relu").eval()
    bent = pileup(relu, images, noise=noise, draws=8, layers=relu.representations)
    assert (bent["share"][1:] > 20 * bent["share_se"][1:]).all()  # it can fail


@pytest.mark.parametrize("draws", [2, 3, 8])
def test_relu_of_noise_alone_has_share_one_over_pi(draws: int) -> None:
    """E[φ]² / E[φ²] = (1 / 2π) / (1 / 2) for a normal φ; whatever the number of draws, two included."""
    table = pileup(Blank(nn.ReLU()), black(600, 8, 8), noise=ps.GaussianNoise(1.0), draws=draws)
    relu = table[table["layer"] == "layers.0"].iloc[0]
    assert_within_errors(relu, 1 / math.pi)
    # |δ|² of 64 of the image's 128 numbers, half of each normal's variance
    assert relu["noise_power"] == pytest.approx(0.25, rel=0.01)
    assert math.isnan(relu["G"])
    assert "no G, constant" in relu["note"]  # all black images have the same f: a share, but no G
    assert_within_errors(table.iloc[0], 0)


def returning(length: int, filter_size: int, steps: int) -> float:
    """Return the probability that a uniform walk on a ring is back after so many steps, by powers of its matrix."""
    matrix = sum(np.roll(np.eye(length), shift, axis=0) for shift in range(-(filter_size // 2), filter_size // 2 + 1))
    return float(np.linalg.matrix_power(matrix / filter_size, steps)[0, 0])


def averages(dim: int, depth: int, filter_size: int = 3) -> list[nn.Module]:
    kind = nn.Conv1d if dim == 1 else nn.Conv2d
    layers: list[nn.Module] = []
    for _ in range(depth):
        layer = kind(1, 1, filter_size, padding=filter_size // 2, padding_mode="circular", bias=False)
        nn.init.constant_(layer.weight, 1 / filter_size**dim)
        layers += [layer, nn.ReLU()]
    return layers


@pytest.mark.parametrize("size", [(32,), (8, 8)], ids=["ring", "torus"])
def test_rectified_noise_behind_averages(size: tuple[int, ...]) -> None:
    """Section 4: h = φ(η) has mean μ, μ² = σ²/2π, and variance σ²/2 - μ² at each of L independent pixels.

    k averages M keep the mean, |M^k μ|² = L μ², and of the scatter Σ_ab (M^k)_ab² = L p, p the probability that a walk
    is back after 2k steps: share = (1/2π) / (1/2π + (1/2 - 1/2π) p). A ReLU after each changes nothing, f is positive.
    """
    depth = 4
    network = Blank(nn.ReLU(), *averages(len(size), depth)).eval()
    table = pileup(network, black(500, *size), noise=ps.GaussianNoise(1.0), layers="activations")
    shares = table[table["kind"] == "activation"].reset_index(drop=True)
    assert len(shares) == depth + 1
    mean, half = 1 / (2 * math.pi), 0.5
    exact = [mean / (mean + (half - mean) * returning(size[0], 3, 2 * k) ** len(size)) for k in range(depth + 1)]
    assert exact[0] == pytest.approx(1 / math.pi)
    assert exact == sorted(exact)
    for (_, row), expected in zip(shares.iterrows(), exact, strict=True):
        assert_within_errors(row, expected)


def test_already_rectified_noise_is_coherent_in_a_linear_network() -> None:
    """Erratum 29: it tells nothing about ReLU. The share is 1 / π at the input, and that of φ(η) behind averages."""
    linear = Blank(*[layer for layer in averages(2, 2) if isinstance(layer, nn.Conv2d)])
    table = pileup(linear, black(400, 8, 8), noise=ps.GaussianNoise(1.0, rectified=True), layers="weights")
    assert_within_errors(table.iloc[0], 1 / math.pi)
    mean, half = 1 / (2 * math.pi), 0.5
    assert_within_errors(table.iloc[2], mean / (mean + (half - mean) * returning(8, 3, 4) ** 2))
    assert table["note"].str.contains("rectified noise: a linear network").all()


def test_an_odd_network_of_noise_alone_has_no_coherent_part() -> None:
    """f(-η) = -f(η) for tanh without biases, however large the noise: E f(η) = 0. A bias ends that."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.Tanh(), nn.Conv2d(8, 8, 3, bias=False), nn.Tanh()]
    odd = Blank(*layers)
    table = pileup(odd, black(400, 8, 8), noise=ps.GaussianNoise(30.0), layers="activations")
    for _, row in table.iterrows():
        assert_within_errors(row, 0)
    layers[0].bias = nn.Parameter(torch.full((8,), 1.0))
    uneven = pileup(odd, black(400, 8, 8), noise=ps.GaussianNoise(30.0), layers="activations")
    assert (uneven["share"][1:] > 10 * uneven["share_se"][1:]).all()


def test_a_response_that_is_always_the_same_has_share_one() -> None:
    def pushed(images: Tensor, moved: Tensor, *, generator: torch.Generator) -> Tensor:
        return images + 1

    table = pileup(small_network(), textured(6), noise=pushed, draws=3)
    assert table["share"].tolist() == pytest.approx([1] * len(table), rel=1e-12)
    assert table["coherent_power"].tolist() == pytest.approx(table["noise_power"].tolist(), rel=1e-12)


# Errors


def experiment(images: int, draws: int, generator: torch.Generator) -> Coherence:
    """f = max(0, x + η), x normal and different from image to image, η of the image's own size."""
    x = torch.randn(images, 6, generator=generator, dtype=torch.float64)
    size = torch.rand(images, 1, generator=generator, dtype=torch.float64)
    noise = torch.randn(draws, images, 6, generator=generator, dtype=torch.float64)
    part = split_response(x.relu(), (x + size * noise).relu(), torch.zeros(6, dtype=torch.float64))
    moments = Covariance(3)
    moments.update(torch.stack([part.deformation, part.noise, part.distance]))
    square = float((part.offset / images).square().sum())
    return coherence(images, moments.mean, moments.covariance, square, square, eps=2.0**-52)


def exact_share() -> float:
    """Return the share of ``experiment``: the mean of φ(x + sη) - φ(x), and of its square, integrated on a grid."""
    nodes = np.linspace(-7, 7, 501)  # steps h = 0.028: a kink costs h² / 12 of it, 1e-4
    weights = np.exp(-(nodes**2) / 2)
    weights = weights / weights.sum()
    sizes, size_weights = np.polynomial.legendre.leggauss(20)
    coherent = total = 0.0
    for size, weight in zip((sizes + 1) / 2, size_weights / 2, strict=True):
        x = nodes[:, None]
        delta = np.maximum(x + size * nodes[None, :], 0) - np.maximum(x, 0)
        coherent += weight * float(weights @ (delta @ weights) ** 2)
        total += weight * float(weights @ (delta**2) @ weights)
    return coherent / total


@pytest.mark.parametrize("draws", [2, 6])
def test_95_percent_intervals_contain_the_truth(draws: int) -> None:
    exact, experiments, images = exact_share(), 1000, 60
    large = experiment(200_000, 6, seeded(1))
    assert large.share_se < 0.02 * exact
    assert abs(large.share - exact) < 4 * large.share_se, "the exact share is right"
    generator = seeded(2)
    found = [experiment(images, draws, generator) for _ in range(experiments)]
    hits = np.mean([each.share_low < exact < each.share_high for each in found])
    # 0.95 ± 0.007; the ratio of means over 60 images is a little skewed.
    assert 0.92 < hits < 0.975, f"{hits:.3f} of the intervals contain {exact:.4f}"
    spread, said = np.std([each.share for each in found]), np.sqrt(np.mean([each.share_se**2 for each in found]))
    assert said == pytest.approx(spread, rel=0.1)  # a standard deviation over 1000 is good to 2 %
    powers = [each.coherent_power for each in found]
    assert np.mean([each.coherent_power_se**2 for each in found]) == pytest.approx(np.var(powers), rel=0.15)
    reach = quantile_t(images - 1)
    assert found[0].share_high - found[0].share == pytest.approx(reach * found[0].share_se)


# What it must not depend on


@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-11), ("float32", 2e-5)])
def test_batch_size_and_order_do_not_matter(precision: str, tolerance: float) -> None:
    model, images = small_network(), textured(23)
    expected = pileup(model, images, batch_size=23, precision=precision, seed=3)
    order = torch.randperm(23, generator=seeded(0))
    shuffled = DataLoader(TensorDataset(images[order], order), batch_size=5, shuffle=True)
    for given_images, batch in ((images, 1), (images, 7), (shuffled, 5)):
        table = pileup(model, given_images, batch_size=batch, precision=precision, seed=3)
        for column in ("noise_power", "coherent_power", "share", "share_se", "G"):
            scale = expected["noise_power"] if "power" in column else 1.0  # a coherent power is a small difference
            difference = ((table[column] - expected[column]) / scale).abs().max()
            assert difference < tolerance, f"{column}, batches of {batch}: {difference:.2g}"
    other = pileup(model, images, precision=precision, seed=4)
    assert (other["share"] != expected["share"]).all()


def test_a_resnet_is_measured_and_handed_back() -> None:
    torch.manual_seed(0)
    model = models.resnet18(num_classes=4).train()
    model.conv1.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pointers = [parameter.data_ptr() for parameter in model.parameters()]
    images = textured(4, size=32)
    kept = images.clone()
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    table = pileup(model, images, draws=3)
    assert len(table) == 19
    assert np.isfinite(table[NUMBERS]).all().all()
    assert (table["share"] <= 1).all()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert torch.equal(images, kept)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert pointers == [parameter.data_ptr() for parameter in model.parameters()]
    assert model.training
    assert not model.conv1.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_statistics_of_each_batch_are_those_of_each_draw() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.BatchNorm2d(6)).double().eval()
    images = textured(12, dtype=torch.float64)
    table = pileup(model, images, ps.Diffeomorphism(0.3, 2), bn="batch", draws=3, batch_size=12, precision="float64")
    assert table["note"].tolist() == ["batch norm: batch"] * 3
    trained = model.train()  # the slow version runs every draw by itself, with its batch's statistics
    powers = slow_powers(trained, images, [1, 2], 3, 0)[:, :, :2].astype(float)
    expected = powers[:, :, 0].sum(axis=1) / powers[:, :, 1].sum(axis=1)
    assert table["share"][1:].tolist() == pytest.approx(expected.tolist(), rel=1e-9)


def test_gaussian_noise_needs_no_deformation() -> None:
    def refused(images: Tensor, *, generator: torch.Generator) -> Tensor:
        raise AssertionError("not to be called")

    model, images, noise = small_network(), textured(6), ps.GaussianNoise(1.0)
    table = pileup(model, images, refused, noise)
    pd.testing.assert_frame_equal(table, pileup(model, images, noise=noise))
    assert table.attrs["record"]["deformation"] is None
    with pytest.raises(AssertionError, match="not to be called"):
        pileup(model, images, refused)


def test_the_table_keeps_its_record_in_a_file(tmp_path: Path) -> None:
    table = pileup(small_network(), textured(6), ps.Diffeomorphism(0.3, 2), draws=4, seed=11)
    table.to_parquet(tmp_path / "pileup.parquet")
    again = pd.read_parquet(tmp_path / "pileup.parquet")
    pd.testing.assert_frame_equal(again, table)
    record = again.attrs["record"]
    assert record["noise"] == "MatchedNoise(rectified=False)"
    assert (record["draws"], record["seed"], record["deformation"]["cutoff"]) == (4, 11, 2)


# What has no share


def test_no_share_below_rounding() -> None:
    """The rounding of f(x) is the same in every draw: without the limit it is taken for a response."""
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Conv2d(8, 8, 3, padding=1) for _ in range(6)]).eval()  # linear: the share is 0
    images, noise = textured(40, channels=8), ps.GaussianNoise(1e-5)
    table = pileup(model, images, noise=noise, layers="weights")
    assert table["share"][1:].isna().all()
    assert table[["share_se", "share_low", "share_high"]][1:].isna().all().all()
    assert table["note"][1:].str.contains("no share, the response to the noise is not above rounding").all()
    assert np.isfinite(table["G"]).all()
    exact = pileup(model, images, noise=noise, layers="weights", precision="float64")
    assert (exact["share"].abs() < 4 * exact["share_se"]).all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coherence_module, "rounding", lambda eps: 0.0)
        assert (pileup(model, images, noise=noise, layers="weights")["share"][1:] > 0.05).all()


def test_rounding_is_that_of_the_whole_representation() -> None:
    """A mean that all images share makes rounding as large as its own size asks for."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3)).eval()
    with torch.no_grad():
        model[0].bias.fill_(1e5)  # a response of about 0.1 beside it: 10 epsilons
    images, noise = textured(30), ps.GaussianNoise(1.0)
    assert pileup(model, images, noise=noise, layers="weights")["share"][1:].isna().all()
    exact = pileup(model, images, noise=noise, layers="weights", precision="float64")
    assert_within_errors(exact.iloc[1], 0, at_zero=0.02)


def test_just_above_rounding_a_share_is_right() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Conv2d(8, 8, 3, padding=1) for _ in range(6)]).eval()
    size = 2 * 128 * 2.0**-23 * math.sqrt(8 * 64)  # twice the limit at the input, about the limit behind filters
    table = pileup(model, textured(40, channels=8), noise=ps.GaussianNoise(size), layers="weights")
    exact = pileup(model, textured(40, channels=8), noise=ps.GaussianNoise(size), layers="weights", precision="float64")
    given_ones = table["share"].notna()
    assert given_ones.sum() >= 2
    assert ((table["share"] - exact["share"])[given_ones].abs() < 0.02).all()


def test_no_noise_has_no_share() -> None:
    table = pileup(small_network(), textured(6), noise=ps.GaussianNoise(0.0))
    assert table["share"].isna().all()
    assert (table["noise_power"] == 0).all()
    assert table["note"].str.contains("not above rounding").all()


def test_where_values_stop_being_finite() -> None:
    model = small_network()
    with torch.no_grad():
        model[2].weight[0, 0, 0, 0] = math.nan
    table = pileup(model, textured(6))
    assert table["note"].tolist() == ["", "", *["not finite, first at 3"] * 2]
    assert table["share"][2:].isna().all()
    assert np.isfinite(table["share"][:2]).all()


# Bad input


@pytest.mark.parametrize("draws", [1, 0, -3, True])
def test_fewer_than_two_draws_are_refused(draws: int) -> None:
    with pytest.raises(ValueError, match=rf"2 or more: the coherent part is a mean over pairs of draws; got {draws}"):
        pileup(small_network(), textured(6), draws=draws)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: {"images": textured(1)}, "at least 2 images are needed.*got 1"),
        (lambda: {"images": textured(1).expand(5, -1, -1, -1)}, "images must differ"),
        (lambda: {"images": textured(4, channels=2)}, "the model must take images of shape"),
        (lambda: {"layers": ["nowhere"]}, "'nowhere' is unknown"),
        (lambda: {"seed": -1}, "seed must be a whole number.*got -1"),
        (lambda: {"batch_size": 0}, "batch_size must be.*got 0"),
    ],
    ids=["one image", "equal images", "channels", "layers", "seed", "batch size"],
)
def test_refused_as_by_measure(change: Callable[[], dict[str, object]], message: str) -> None:
    arguments = {"images": textured(6), **change()}
    with pytest.raises(ValueError, match=message):
        pileup(small_network(), arguments.pop("images"), **arguments)
