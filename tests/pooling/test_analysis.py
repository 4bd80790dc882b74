"""Networks and their controls together: the definition in slow loops, known answers, what must not change numbers."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import poolscope as ps
from helpers import seeded
from poolscope import Diffeomorphism, MatchedNoise, measure
from poolscope._torchvision import import_timm
from poolscope.pooling import gaussian_filters, mean_channel, pooling_analysis, pooling_share
from poolscope.pooling.analysis import _generator
from poolscope.pooling.shuffling import shuffled
from poolscope.sensitivity import COLUMNS
from poolscope.sensitivity.estimate import quantile_t
from poolscope.sensitivity.perturbing import Perturber
from poolscope.sensitivity.session import Session

SHARES = [
    "layer", "kind", "position", "depth", "R", "R_low", "R_high", "R_shuffled", "R_shuffled_low", "R_shuffled_high",
    "spatial_share", "spatial_share_se", "spatial_share_low", "spatial_share_high", "draws", "model", "displacement",
    "cutoff", "note",
]  # fmt: skip
OPTIONS: dict[str, Any] = {"precision": "float64", "progress": False}
NOT_MEASURABLE = "R does not differ measurably from the input's: nothing to share out"


def smooth_images(count: int, channels: int = 3, size: int = 12, seed: int = 7) -> Tensor:
    """Random images without much fine detail, their channels independent of each other, float64."""
    coarse = torch.randn(count, channels, 4, 4, generator=seeded(seed), dtype=torch.float64)
    return nn.functional.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(320, 4)
    ).eval()


def normalised(seed: int = 0) -> nn.Module:
    """A network with batch norms that know its activations."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6, momentum=None), nn.ReLU(inplace=True),
        nn.Conv2d(6, 5, 3, bias=False), nn.BatchNorm2d(5, momentum=None), nn.ReLU(),
    )  # fmt: skip
    with torch.no_grad():
        model(smooth_images(50, seed=1).float())
    return model.eval()


IMAGES = smooth_images(30)


# --- the definition, in loops over images, draws, shuffles and layers ------------------------------------------------


def copies_of(model: nn.Module, draws: int, seed: int, mode: Any = "independent") -> list[nn.Module]:
    return [shuffled(model, _generator(seed, draw, 0), mode, "all", True)[0] for draw in range(draws)]


def image_powers(model: nn.Module, layer: str, images: Tensor, tau: Any, seed: int, perturbations: int) -> Tensor:
    """|f(τx) - f(x)|² and |f(x + η) - f(x)|² of each image by itself, averaged over draws, ``[N, 2]``."""
    model = copy.deepcopy(model).double()
    children = list(model.children())
    stage = nn.Sequential(*(children if layer == "output" else children[: int(layer) + 1 if layer != "input" else 0]))
    found = torch.zeros(len(images), 2, dtype=torch.float64)
    perturb = Perturber(tau, MatchedNoise(), seed, perturbations)
    with torch.no_grad():
        for number in range(len(images)):
            parts = perturb(images[number : number + 1], torch.tensor([number]))
            clean, *others = (stage(part[None].clone()).flatten() for part in parts)
            for draw in range(perturbations):
                found[number, 0] += (others[draw] - clean).square().sum() / perturbations
                found[number, 1] += (others[perturbations + draw] - clean).square().sum() / perturbations
    return found


def influence(powers: Tensor) -> Tensor:
    """What each image adds to log R = log mean a - log mean b, to first order."""
    mean = powers.mean(dim=0)
    return powers[:, 0] / mean[0] - powers[:, 1] / mean[1]


def log_R(powers: Tensor) -> float:
    return math.log(float(powers[:, 0].mean() / powers[:, 1].mean()))


def crossed_error(values: list[float], influences: Tensor) -> float:
    """Images and shuffles crossed, from the influence of each image on each shuffle's value, ``[N, draws]``."""
    images, draws = influences.shape
    over_images = float(influences.mean(dim=1).var()) / images
    over_draws = float(np.var(values, ddof=1)) / draws
    rest = influences - influences.mean(dim=1, keepdim=True)
    both = float(rest.square().sum()) / (images - 1) / (draws - 1) / (draws * images)
    return math.sqrt(max(over_images + over_draws - both, over_images, over_draws))


@pytest.mark.parametrize("perturbations", [1, 2])
@pytest.mark.parametrize("mode", ["independent", "shared"])
def test_the_definition_in_slow_loops(mode: str, perturbations: int) -> None:
    model, tau, seed, draws = network(), Diffeomorphism(0.5, 3), 11, 3
    found = pooling_analysis(
        model, IMAGES, displacement=0.5, draws=draws, seed=seed, mode=mode, perturbations=perturbations, batch_size=7,
        layers="all", **OPTIONS,
    )  # fmt: skip
    shares = found.shares.set_index("layer")
    contrasts = found.contrasts.set_index("layer")
    copies = copies_of(model, draws, seed, mode)
    at_input = image_powers(model, "input", IMAGES, tau, seed, perturbations)
    assert shares.index.tolist() == ["input", "0", "1", "2", "3", "4", "5", "output"]
    measurable = set()
    for layer in ("0", "1", "2", "3", "5", "output"):
        own = image_powers(model, layer, IMAGES, tau, seed, perturbations)
        others = [image_powers(one, layer, IMAGES, tau, seed, perturbations) for one in copies]
        row = shares.loc[layer]
        assert row["R"] == pytest.approx(math.exp(log_R(own)), rel=1e-10)
        logs = [log_R(one) for one in others]
        R_shuffled = math.exp(sum(logs) / draws)
        assert row["R_shuffled"] == pytest.approx(R_shuffled, rel=1e-10)
        R_input = math.exp(log_R(at_input))
        fall, fall_moves = math.log(row["R"] / R_input), influence(own) - influence(at_input)
        if abs(fall) < quantile_t(len(IMAGES) - 1) * float(fall_moves.std()) / len(IMAGES) ** 0.5:
            assert math.isnan(row["spatial_share"])
            assert row["note"] == NOT_MEASURABLE
        else:
            measurable.add(layer)
            assert row["spatial_share"] == pytest.approx(math.log(R_shuffled / R_input) / fall, rel=1e-10)
            # A share s_j = (log R_j - log R_0) / (log R - log R_0): first-order changes of each.
            each = [(log - log_R(at_input)) / fall for log in logs]
            moves = [
                (influence(one) - influence(at_input) - s * fall_moves) / fall
                for one, s in zip(others, each, strict=True)
            ]
            assert row["spatial_share_se"] == pytest.approx(crossed_error(each, torch.stack(moves, dim=1)), rel=1e-9)
        # The contrast, log(R_shuffled / R).
        row = contrasts.loc[layer]
        assert (row["first"], row["second"]) == ("given", "shuffled")
        assert row["log_ratio"] == pytest.approx(sum(logs) / draws - log_R(own), rel=1e-9)
        assert (row["R_first"], row["R_second"]) == pytest.approx((math.exp(log_R(own)), R_shuffled), rel=1e-10)
        moves = [influence(one) - influence(own) for one in others]
        error = crossed_error([log - log_R(own) for log in logs], torch.stack(moves, dim=1))
        assert row["log_ratio_se"] == pytest.approx(error, rel=1e-9)
        assert row["high"] - row["log_ratio"] == pytest.approx(row["log_ratio"] - row["low"], rel=1e-9)
        assert row["high"] - row["log_ratio"] >= quantile_t(len(IMAGES) - 1) * error * (1 - 1e-9)
    assert measurable >= {"0", "1", "2", "3"}


# --- networks with known answers -------------------------------------------------------------------------------------


def convolution(weight: Tensor, **options: Any) -> nn.Module:
    outputs, inputs, *kernel = weight.shape
    layer = nn.Conv2d(inputs * options.get("groups", 1), outputs, tuple(kernel), bias=False, **options)
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer


BLUR = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_pure_blur_is_all_spatial(precision: str) -> None:
    """All filters alike: it does not matter which channel they meet."""
    model = nn.Sequential(
        convolution(BLUR.expand(4, 3, 3, 3)), nn.ReLU(), convolution(BLUR.expand(4, 4, 3, 3)), nn.ReLU()
    )
    options = {**OPTIONS, "precision": precision}
    table = pooling_share(model, IMAGES, displacement=0.5, draws=4, **options).set_index("layer")
    assert abs(math.log(table.loc["output", "R"])) > 0.5, "blur must change R, or there is nothing to share out"
    for layer in ("1", "3", "output"):
        row = table.loc[layer]
        assert row["spatial_share"] == pytest.approx(1, abs=1e-12)
        assert row["spatial_share_se"] == pytest.approx(0, abs=1e-7)
        assert row["R_shuffled"] == pytest.approx(row["R"], rel=1e-12)
        assert row["note"] == "shuffling changes nothing here"


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_permutations_change_nothing_and_share_nothing(precision: str) -> None:
    def permutation(seed: int) -> nn.Module:
        return convolution(torch.eye(8)[torch.randperm(8, generator=seeded(seed))][..., None, None])

    model = nn.Sequential(permutation(0), permutation(1), permutation(2))
    options = {**OPTIONS, "precision": precision}
    found = pooling_analysis(
        model, smooth_images(30, 8), displacement=0.5, draws=3, mode="shared", layers="all", **options
    )
    assert found.result.table["R"].to_numpy() == pytest.approx(1, rel=1e-6)
    shares = found.shares.set_index("layer")
    assert shares["spatial_share"].isna().all()
    assert shares["R_shuffled"].to_numpy() == pytest.approx(1, rel=1e-6)
    assert (shares["note"].iloc[1:] == NOT_MEASURABLE).all()


def channel_pooling(channels: int, offsets: list[tuple[int, int]]) -> nn.Module:
    """Copies of each image channel, moved by single-tap filters; then the sum of the copies of each: a blur.

    No filter of it pools in space: the first layer's have one tap, the second's are 1x1.
    """
    copies = len(offsets)
    moves, sums = torch.zeros(channels * copies, channels, 3, 3), torch.zeros(channels, channels * copies, 1, 1)
    for channel in range(channels):
        for number, (down, right) in enumerate(offsets):
            moves[channel * copies + number, channel, 1 + down, 1 + right] = 1
            sums[channel, channel * copies + number] = 1
    return nn.Sequential(convolution(moves, padding=1, padding_mode="circular"), convolution(sums))


def test_pooling_by_channels_alone_has_share_0() -> None:
    """Shuffled, copies of different channels are summed, independent of each other: R stays about 1."""
    model = channel_pooling(48, [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)][::2])
    images = smooth_images(40, 48)
    for options in ({"convolutions": ["1"]}, {"mode": "shared", "convolutions": ["1"]}, {}):
        found = pooling_share(model, images, displacement=0.5, draws=4, layers="all", **options, **OPTIONS)
        table = found.set_index("layer")
        assert table.loc["0", "R"] == pytest.approx(1, abs=0.02)
        assert abs(math.log(table.loc["1", "R"])) > 0.8, "summing the copies must pool"
        row = table.loc["1"]
        # Of 5 summed copies out of 240, a tenth of a pair comes from one channel (5 * 4 / 2 * 4 / 239 = 0.17 of 10).
        assert abs(row["spatial_share"]) < 0.1
        assert row["spatial_share_se"] < 0.05
        assert math.isnan(table.loc["0", "spatial_share"])


def test_a_mixed_network_has_its_own_share() -> None:
    """Blur within channels, then pooling by channels: a share between, known by direct computation."""
    toy = channel_pooling(48, [(0, 0), (0, 1), (1, 0), (1, 1)])
    blur = convolution(torch.tensor([[0.0, 0.1, 0.0], [0.1, 0.6, 0.1], [0.0, 0.1, 0.0]]).expand(48, 1, 3, 3), groups=48)
    model = nn.Sequential(blur, *toy)
    images, tau, draws = smooth_images(30, 48), Diffeomorphism(0.5, 3), 3
    options = {"convolutions": ["2"], "layers": "all"}
    row = pooling_share(model, images, tau, draws=draws, seed=5, **options, **OPTIONS).set_index("layer").loc["2"]
    assert 0.15 < row["spatial_share"] < 0.85
    weights = []
    for draw in range(draws):
        generator = _generator(5, draw, 0)
        order = torch.rand(48, 192, generator=generator, dtype=torch.float64).argsort(dim=1)
        weights.append(model[2].weight.detach()[:, :, 0, 0].double().gather(1, order))
    parts = Perturber(tau, MatchedNoise(), 5, 1)(images, torch.arange(30))
    with torch.no_grad():
        clean, moved, noisy = copy.deepcopy(model[:2]).double()(parts).chunk(3)

    def R(weight: Tensor) -> float:
        a, b = (torch.einsum("oc,nchw->nohw", weight, part - clean).square().sum() for part in (moved, noisy))
        return float(a / b)

    def log_R_input() -> float:
        x, tau_x, x_eta = parts.chunk(3)
        return math.log(float((tau_x - x).square().sum() / (x_eta - x).square().sum()))

    own = R(model[2].weight.detach()[:, :, 0, 0].double())
    shuffled_mean = sum(math.log(R(weight)) for weight in weights) / draws
    expected = (shuffled_mean - log_R_input()) / (math.log(own) - log_R_input())
    assert row["spatial_share"] == pytest.approx(expected, rel=1e-10)


def test_networks_without_convolution_share_nothing() -> None:
    class Residual(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return x + super().forward(x)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(432, 20), nn.ReLU(), Residual(20, 20), nn.Linear(20, 5))
    found = pooling_analysis(
        model, IMAGES, draws=3, controls=("mean_filters", "gaussian_filters", "mean_channel"), layers="all", **OPTIONS
    )
    assert found.shares["spatial_share"].isna().all()
    assert found.shares["R_shuffled"].isna().all()
    assert (found.shares["note"] == "no convolution is shuffled").all()
    assert (found.shares["draws"] == 0).all()
    assert found.result.table["variant"].unique().tolist() == ["given", "mean_channel"]
    with pytest.raises(ValueError, match="'conv1' matches none of no convolutions at all"):
        pooling_analysis(model, IMAGES, convolutions="conv1", **OPTIONS)


def test_dead_shuffled_copies_give_nan_even_if_rounding_is_left() -> None:
    """A mean far above what is left of the signal: the powers are positive, R is not defined."""

    class Drowned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = convolution(torch.tensor([[1.0, 0.0, 0.0]])[..., None, None])

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x[:, :3])
            return y.flatten(1) + 1e10 * (self.conv.weight[0, 0, 0, 0] == 0)

    torch.manual_seed(0)
    with_dead = pooling_share(Drowned(), IMAGES.float(), displacement=0.5, draws=6, progress=False)
    row = with_dead.set_index("layer").loc["output"]
    assert math.isnan(row["spatial_share"])
    assert math.isnan(row["R_shuffled"])
    assert row["note"] == "R is not defined in every shuffled copy"


# --- the rows are what measure gives, the contrasts what compare gives -----------------------------------------------


NUMBERS = ["D", "D_se", "G", "G_se", "R", "R_se", "R_low", "R_high", "deformation_power", "noise_power", "spread"]


def assert_same_numbers(table: pd.DataFrame, expected: pd.DataFrame, rel: float = 1e-9) -> None:
    assert table["layer"].tolist() == expected["layer"].tolist()
    for column in NUMBERS:
        # The input's R is 1 for every image; its error is the square root of what rounding leaves of 0.
        rounding = rel**0.5 / 10 if column.startswith("R_") else 1e-300
        wanted = expected[column].to_numpy()
        assert table[column].to_numpy() == pytest.approx(wanted, rel, rounding, nan_ok=True), column


@pytest.mark.parametrize(
    "options",
    [{}, {"bn": "batch"}, {"protocol": "published"}, {"memory_format": "channels_last"}, {"noise_on": "device"}],
    ids=str,
)
def test_every_variant_is_as_if_measured_alone(options: dict[str, Any]) -> None:
    model, start = normalised(0), normalised(1)
    options = {"seed": 4, "batch_size": 30, **OPTIONS, **options}
    found = pooling_analysis(
        model, IMAGES, Diffeomorphism(0.5, 3), initial=start, draws=2,
        controls=("mean_channel", "mean_filters", "gaussian_filters"), name="net", **options,
    )  # fmt: skip
    table = found.result.table
    assert list(table.columns) == [*COLUMNS, "displacement", "cutoff"]
    expected: dict[tuple[str, int], tuple[nn.Module, dict[str, Any]]] = {
        ("trained", 0): (model, {}),
        ("initial", 0): (start, {}),
        **{("shuffled", draw): (one, {}) for draw, one in enumerate(copies_of(model, 2, 4))},
        ("mean_filters", 0): (mean_channel(model), {}),
        **{
            ("gaussian_filters", draw): (gaussian_filters(model, generator=_generator(4, draw, 1)), {})
            for draw in range(2)
        },
        ("mean_channel", 0): (model, {"readout": "channel_mean"}),
    }
    keys = list(zip(table["variant"], table["draw"], strict=True))
    assert list(dict.fromkeys(keys)) == list(expected)
    for (variant, draw), (one, own) in expected.items():
        rows = table[(table["variant"] == variant) & (table["draw"] == draw)]
        alone = measure(one, IMAGES, Diffeomorphism(0.5, 3), **{**options, **own}).table
        assert_same_numbers(rows, alone)
        assert (rows["model"] == "net").all()
        assert [note.removeprefix("the averaged filters leave no signal: ") for note in rows["note"]] == list(
            alone["note"]
        )
    assert (table["displacement"] == 0.5).all()
    assert (table["cutoff"] == 3).all()


def test_contrasts_of_training_and_mean_channel_are_those_of_compare() -> None:
    model, start = network(0), network(1)
    found = pooling_analysis(
        model, IMAGES, displacement=0.5, initial=start, draws=2, seed=4, controls=("mean_filters",), **OPTIONS
    )
    tau = Diffeomorphism(0.5, 3)
    options = {"deformation": tau, "seed": 4, **OPTIONS}
    trained = ps.compare({"initial": start, "trained": model}, images=IMAGES, **options).table
    averaged = ps.compare({"trained": model, "mean_filters": mean_channel(model)}, images=IMAGES, **options).table
    for first, second, expected in (("initial", "trained", trained), ("trained", "mean_filters", averaged)):
        rows = found.contrasts[(found.contrasts["first"] == first) & (found.contrasts["second"] == second)]
        assert rows["layer"].tolist() == expected["layer"].tolist()
        for column in ("R_first", "R_second", "log_ratio", "log_ratio_se", "low", "high"):
            assert rows[column].to_numpy() == pytest.approx(
                expected[column].to_numpy(), rel=1e-9, abs=1e-7, nan_ok=True
            )
        assert rows["note"].tolist() == expected["note"].tolist()
    pairs = list(dict.fromkeys(zip(found.contrasts["first"], found.contrasts["second"], strict=True)))
    assert pairs == [("initial", "trained"), ("trained", "shuffled"), ("trained", "mean_filters")]


def test_a_single_draw_says_that_its_interval_is_over_images_alone() -> None:
    found = pooling_analysis(
        network(), IMAGES, displacement=0.5, draws=1, controls=("gaussian_filters", "mean_channel"), **OPTIONS
    )
    one = found.contrasts[found.contrasts["layer"] == "3"].set_index("second")
    assert one.loc["shuffled", "note"] == "one draw: the interval is over images alone"
    assert one.loc["gaussian_filters", "note"] == "one draw: the interval is over images alone"
    assert one.loc["mean_channel", "note"] == ""
    assert one["log_ratio_se"].notna().all()
    share = found.shares.set_index("layer").loc["3"]
    assert math.isfinite(share["spatial_share"])
    assert math.isnan(share["spatial_share_se"])
    assert "one shuffle: its standard error is not known" in share["note"]


def test_recalibration_is_of_shuffled_copies_and_other_filters_alone() -> None:
    model, start = normalised(0), normalised(1)
    options = {"seed": 4, "displacement": 0.5, "initial": start, "draws": 2, **OPTIONS}
    controls = ("mean_channel", "gaussian_filters")
    plain, anew = (
        pooling_analysis(model, IMAGES, controls=controls, recalibrate=flag, **options).result.table
        for flag in (False, True)
    )
    tau = Diffeomorphism(0.5, 3)
    for variant in ("trained", "initial", "mean_channel"):
        assert_same_numbers(anew[anew["variant"] == variant], plain[plain["variant"] == variant], rel=1e-12)
    for draw, one in enumerate(copies_of(model, 2, 4)):
        rows = anew[(anew["variant"] == "shuffled") & (anew["draw"] == draw)]
        assert_same_numbers(rows, measure(one, IMAGES, tau, seed=4, bn="reestimate", **OPTIONS).table)
        assert (rows["note"] == "batch norm: reestimate").all()
        # The same by the public function, which changes the copy for good.
        by_hand = ps.shuffle_channels(model.double(), generator=_generator(4, draw, 0), recalibrate=IMAGES)
        model.float()
        assert_same_numbers(rows, measure(by_hand, IMAGES, tau, seed=4, **OPTIONS).table, rel=1e-6)
    for variant in ("shuffled", "gaussian_filters"):
        before, after = (each[each["variant"] == variant]["R"].to_numpy()[1:4] for each in (plain, anew))
        assert (np.abs(before / after - 1) > 1e-3).all()


def test_statistics_of_each_batch_leave_nothing_to_recalibrate() -> None:
    options = {"displacement": 0.5, "draws": 2, "bn": "batch", "batch_size": 30, **OPTIONS}
    plain, anew = (
        pooling_analysis(normalised(), IMAGES, recalibrate=flag, **options).result.table for flag in (False, True)
    )
    assert anew["note"].str.contains("batch norm: batch").all()
    pd.testing.assert_frame_equal(anew, plain, check_exact=True)


# --- what the numbers must not depend on, and what they must ---------------------------------------------------------


def test_batch_size_and_source_do_not_change_numbers() -> None:
    options = {"displacement": [0.3, 0.5], "draws": 3, "controls": ("mean_channel",), **OPTIONS}
    model = normalised()
    expected = pooling_analysis(model, IMAGES, batch_size=30, **options)
    loader = DataLoader(TensorDataset(IMAGES), batch_size=8)
    for images, more in ((IMAGES, {"batch_size": 7}), (IMAGES, {"batch_size": 1}), (loader, {}), (IMAGES, {})):
        found = pooling_analysis(model, images, **more, **options)
        for name in ("shares", "contrasts"):
            pd.testing.assert_frame_equal(getattr(found, name), getattr(expected, name), rtol=1e-8, atol=1e-7)
        assert_same_numbers(found.result.table, expected.result.table, rel=1e-8)


def test_layer_choice_does_not_change_numbers() -> None:
    every = pooling_share(network(), IMAGES, displacement=0.5, draws=3, layers="all", **OPTIONS).set_index("layer")
    some = pooling_share(network(), IMAGES, displacement=0.5, draws=3, layers=["3"], **OPTIONS).set_index("layer")
    assert some.index.tolist() == ["input", "3"]
    columns = ["R", "R_shuffled", "spatial_share", "spatial_share_se"]
    assert some.loc["3", columns].tolist() == pytest.approx(every.loc["3", columns].tolist(), rel=1e-9)


def test_seeds() -> None:
    def table(seed: int) -> pd.DataFrame:
        return pooling_share(network(), IMAGES, displacement=0.5, draws=3, seed=seed, **OPTIONS)

    pd.testing.assert_frame_equal(table(2), table(2), check_exact=True)
    assert abs(table(2)["R_shuffled"].iloc[1:] / table(3)["R_shuffled"].iloc[1:] - 1).min() > 1e-4
    drawn = [int(torch.randint(2**60, (), generator=_generator(*key))) for key in ((0, 0, 0), (0, 0, 1), (0, 1, 0))]
    assert len(set(drawn)) == 3


def test_more_shuffles_keep_the_first() -> None:
    few, many = (
        pooling_analysis(network(), IMAGES, displacement=0.5, draws=draws, **OPTIONS).result.table for draws in (2, 4)
    )
    assert_same_numbers(few, many[: len(few)], rel=1e-12)


def test_several_displacements_are_as_runs_of_their_own() -> None:
    options = {"draws": 3, "cutoff": 4, "seed": 1, "initial": network(1), **OPTIONS}
    found = pooling_analysis(network(), IMAGES, displacement=[0.5, 0.3, 0.5], **options)
    assert found.shares["displacement"].unique().tolist() == [0.3, 0.5]
    assert found.record["displacement"] == [0.3, 0.5]
    assert found.result.record is found.record
    for size in (0.3, 0.5):
        alone = pooling_analysis(network(), IMAGES, displacement=size, **options)
        for name in ("shares", "contrasts"):
            table = getattr(found, name)
            part = table[table["displacement"] == size].reset_index(drop=True)
            pd.testing.assert_frame_equal(part, getattr(alone, name), check_exact=True)
        table = found.result.table
        part = table[table["displacement"] == size].reset_index(drop=True)
        pd.testing.assert_frame_equal(part, alone.result.table, check_exact=True)
        assert alone.record["displacement"] == size
        assert alone.record["cutoff"] == 4


# --- tables, notes, records ------------------------------------------------------------------------------------------


def test_columns_and_types_of_the_shares() -> None:
    table = pooling_share(network(), IMAGES, displacement=0.5, draws=3, name="mine", **OPTIONS)
    assert list(table.columns) == SHARES
    text = {"layer", "kind", "model", "note"}
    whole = {"position", "draws", "cutoff"}
    for column in SHARES:
        is_kind = (
            pd.api.types.is_string_dtype if column in text
            else pd.api.types.is_integer_dtype if column in whole
            else pd.api.types.is_float_dtype
        )  # fmt: skip
        assert is_kind(table[column]), column
    assert (table["model"] == "mine").all()
    assert table["position"].tolist() == [0, 1, 2, 3]
    row = table.iloc[0]
    assert (row["layer"], row["note"]) == ("input", "the input itself")
    assert row["R_shuffled"] == pytest.approx(1)
    assert math.isnan(row["spatial_share"])
    for row in table.iloc[1:3].itertuples():
        assert row.spatial_share_low < row.spatial_share < row.spatial_share_high
        assert row.R_shuffled_low < row.R_shuffled < row.R_shuffled_high


def test_skips_are_named_where_shuffled_and_only_there() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x + self.conv(x))

    torch.manual_seed(0)
    model = nn.Sequential(Residual(), Residual())
    found = pooling_share(model, IMAGES, displacement=0.5, draws=2, layers="all", **OPTIONS)
    notes = found[found["note"].str.contains("skip added unshuffled")]
    assert notes["note"].str.extract(r"skip added unshuffled in (\S+)$")[0].tolist() == ["0", "1"]
    none = pooling_analysis(model, IMAGES, displacement=0.5, draws=0, layers="all", **OPTIONS)
    assert (none.shares["note"] == "no convolution is shuffled").all()


def test_the_record_says_how() -> None:
    found = pooling_analysis(
        network(), IMAGES, displacement=0.5, draws=2, mode="shared", image_channels=False, controls=["mean_channel"],
        recalibrate=True, **OPTIONS,
    )  # fmt: skip
    assert found.record["shuffles"] == {
        "draws": 2, "mode": "shared", "recalibrate": True, "image_channels": False,
        "left_as_they_are": {"0": "reads the image"},
    }  # fmt: skip
    assert found.record["controls"] == ["mean_channel"]
    assert [each["variant"] for each in found.record["compared"]] == ["shuffled", "shuffled", "mean_channel"]
    first = found.shares.set_index("layer").loc["1"]  # before the first shuffled convolution
    assert (first["spatial_share"], first["note"]) == (1.0, "shuffling changes nothing here")


def test_dead_averaged_filters_are_named() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
    with torch.no_grad():
        model[2].weight.sub_(model[2].weight.mean() + 1)
        model[2].bias.fill_(0.0)
        model[2].weight[0].add_(2.0)
    found = pooling_analysis(
        model, IMAGES, displacement=0.5, draws=2, controls=("mean_filters",), **OPTIONS
    ).result.table.query("variant == 'mean_filters'")
    row = found.set_index("layer").loc["3"]
    assert math.isnan(row["R"])
    assert row["note"].startswith("the averaged filters leave no signal: constant")


def test_any_callable_deforms_without_a_displacement() -> None:
    def shift(images: Tensor, *, generator: torch.Generator) -> Tensor:
        return images.roll(1, dims=-1)

    found = pooling_analysis(network(), IMAGES, shift, draws=2, **OPTIONS)
    for table in (found.shares, found.contrasts, found.result.table):
        assert table["displacement"].isna().all()
        assert table["cutoff"].isna().all()
    assert found.shares["R_shuffled"].notna().all()
    shares = pooling_share(network(), IMAGES, ps.Translation(displacement=0.5), draws=2, **OPTIONS)
    assert (shares["displacement"] == 0.5).all()
    assert shares["cutoff"].isna().all()


@pytest.mark.parametrize(
    ("name", "options"),
    [("mobilenetv3_small_050", {}), ("vit_tiny_patch16_224", {"img_size": 32, "patch_size": 8, "depth": 2})],
)
def test_models_of_timm(name: str, options: dict[str, Any]) -> None:
    timm = import_timm()
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=4, **options).eval()
    found = pooling_analysis(
        model, smooth_images(8, size=32).float(), displacement=0.5, draws=2, controls=("mean_channel", "mean_filters"),
        progress=False,
    )  # fmt: skip
    assert found.shares["R_shuffled"].notna().sum() > 2
    assert not found.record["shuffles"]["left_as_they_are"]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert found.shares["note"].str.contains("skip added unshuffled in blocks").any()


# --- everything comes back as it was ---------------------------------------------------------------------------------


class Fails(Exception):
    pass


@pytest.mark.parametrize("error", [None, Fails(), KeyboardInterrupt(), RuntimeError("in the middle")])
def test_the_model_comes_back_as_it_was(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> None:
    model, start = normalised(0), normalised(1)
    model[0].train()
    before = [{name: value.clone() for name, value in each.state_dict().items()} for each in (model, start)]
    tensors = [parameter.data_ptr() for parameter in model.parameters()]
    modes = [module.training for module in model.modules()]
    images, state, numpy_state = IMAGES.clone(), torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    batches: list[int] = []

    def fail(module: nn.Module, args: Any, output: Any) -> None:
        batches.append(len(output))
        if len(batches) > 20 and error is not None:
            raise error

    handle = model[3].register_forward_hook(fail)

    def run() -> None:
        pooling_analysis(
            model, images, displacement=0.5, initial=start, draws=2, controls=ps.pooling.CONTROLS, recalibrate=True,
            batch_size=5, **OPTIONS,
        )  # fmt: skip

    if error is None:
        run()
    else:
        with pytest.raises(type(error)):
            run()
    assert len(batches) > 20
    handle.remove()
    for each, saved in zip((model, start), before, strict=True):
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in each.modules())
        for name, value in each.state_dict().items():
            assert value.dtype == saved[name].dtype
            assert torch.equal(value, saved[name])
    assert [parameter.data_ptr() for parameter in model.parameters()] == tensors
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    assert torch.equal(images, IMAGES)


def test_out_of_memory_in_a_copy_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"displacement": 0.5, "draws": 3, "batch_size": 10, **OPTIONS}
    expected = pooling_analysis(network(), IMAGES, **options)
    whole, calls = Session.stacked, []

    def stacked(self: Session, images: Tensor, indices: Tensor) -> Tensor:
        stack = whole(self, images, indices)
        process = self.sums.process

        def fails_once(stack: Tensor) -> Tensor:
            self.sums.process = process  # type: ignore[method-assign]
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

        calls.append(1)
        if len(calls) == 2:
            self.sums.process = fails_once  # type: ignore[method-assign]
        return stack

    monkeypatch.setattr(Session, "stacked", stacked)
    found = pooling_analysis(network(), IMAGES, **options)
    assert len(calls) > 3
    assert (found.result.table["images"] == 30).all()
    pd.testing.assert_frame_equal(found.shares, expected.shares, rtol=1e-9, atol=1e-9)
    assert_same_numbers(found.result.table, expected.result.table)


# --- what is refused -------------------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"draws": -1}, r"draws must be a whole number, 0 or more shuffles; got -1"),
    ({"draws": True}, r"draws must be a whole number, 0 or more shuffles; got True"),
    ({"controls": ("mean", "mean_filters")}, r"controls must be a sequence of mean_channel, .*got \('mean', "),
    ({"controls": "mean_channel"}, r"controls must be a sequence of mean_channel, .*got 'mean_channel'"),
    ({"displacement": 0.5, "deformation": Diffeomorphism(0.5)}, r"either a deformation or displacements .*got both"),
    ({"displacement": []}, r"at least one displacement is needed; got \[\]"),
    ({"displacement": 0.0}, r"displacements must be positive numbers of pixels.*got 0\.0"),
    ({"displacement": [0.5, -0.5]}, r"displacements must be positive numbers of pixels.*got -0\.5"),
    ({"displacement": math.nan}, r"displacements must be positive numbers of pixels.*got nan"),
    ({"displacement": math.inf}, r"displacements must be positive numbers of pixels.*got inf"),
    ({"displacement": 0.5, "cutoff": 11}, r"cutoff must be in 1 \.\. .*got 11"),
    ({"readout": "channel_mean"}, r"readout is not an option of the pooling analysis.*got readout="),
    ({"variant": "mine"}, r"variant is not an option of the pooling analysis.*got variant="),
    ({"process_group": "world"}, r"process_group is not an option of the pooling analysis.*got process_group="),
    ({"convolutions": ["7"]}, r"convolutions must be names of this model's convolutions; '7'"),
    ({"perturbations": 0}, r"draws must be a whole number, 1 or more perturbations an image; got 0"),
    ({"seed": -1}, r"seed must be a whole number in 0 \.\. 2\^64 - 1"),
    (
        {"initial": nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten())},
        r"the initial network must have the layers of the first, input, 1, 3, output, .*got input, 1, output",
    ),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[str(sorted(options)) for options, _ in REFUSED])
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pooling_analysis(network(), IMAGES, **options, progress=False)


def test_a_share_needs_shuffles_and_an_analysis_does_not() -> None:
    with pytest.raises(ValueError, match="draws must be 1 or more shuffles, the share is made of them; got 0"):
        pooling_share(network(), IMAGES, draws=0)
    found = pooling_analysis(network(), IMAGES, draws=0, controls=("gaussian_filters",), **OPTIONS)
    assert found.result.table["variant"].unique().tolist() == ["given", "gaussian_filters"]
    assert found.contrasts["second"].unique().tolist() == ["gaussian_filters"]


def test_bad_images_and_models_are_refused_as_by_measure() -> None:
    with pytest.raises(ValueError, match="at least 2 images are needed"):
        pooling_share(network(), IMAGES[:1], **OPTIONS)
    with pytest.raises(ValueError, match=r"the model must take images of shape \(2, 4, 12, 12\)"):
        pooling_share(network(), smooth_images(5, 4), **OPTIONS)
    with pytest.raises(TypeError, match=r"model must be an eager nn\.Module"):
        pooling_share(torch.jit.trace(network(), IMAGES[:1].float()), IMAGES, **OPTIONS)


# --- the whole of it, again and again --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def repeated() -> list[pd.DataFrame]:
    """The shares of one network, each time with new images, perturbations and shuffles."""
    model: Callable[..., nn.Module] = network()
    return [
        pooling_share(
            model, smooth_images(60, seed=1000 + number), displacement=0.4, draws=4, seed=number, **OPTIONS
        ).set_index("layer")
        for number in range(100)
    ]


@pytest.mark.parametrize("layer", ["1", "3", "output"])
def test_errors_are_the_scatter_of_repeated_analyses(repeated: list[pd.DataFrame], layer: str) -> None:
    rows = pd.DataFrame([table.loc[layer] for table in repeated])
    assert rows["spatial_share"].notna().all()
    scatter = rows["spatial_share"].std()
    reported = math.sqrt((rows["spatial_share_se"] ** 2).mean())
    # Of 100 repetitions the standard deviation is known to 7 %, the mean of a variance of few degrees to about 5 %.
    assert 0.75 < reported / scatter < 1.3
    mean = rows["spatial_share"].mean()
    covered = ((rows["spatial_share_low"] <= mean) & (mean <= rows["spatial_share_high"])).mean()
    assert covered >= 0.87  # 0.95 ± 0.022
    assert (rows["spatial_share_high"] - rows["spatial_share_low"]).median() < 10 * scatter
