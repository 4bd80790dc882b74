"""Filter spectra against slow loops over filters and taps, exact filters, and the scatter of many random layers."""

import functools
import importlib.util
import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from helpers import seeded
from poolscope.networks import load_model
from poolscope.pooling import spectrum as spectrum_module
from poolscope.pooling.spectrum import filter_spectrum, frequency_content

COLUMNS = [
    "layer", "position", "kernel", "filters", "dilation", "level", "eigenvalue", "multiplicity", "power", "share",
    "share_se", "total_power", "white_share", "init_share", "frequency_se", "model", "note",
]  # fmt: skip


@functools.cache
def laplacian(kernel: tuple[int, ...]) -> np.ndarray:
    taps = list(itertools.product(*map(range, kernel)))
    matrix = np.zeros((len(taps), len(taps)))
    for i, j in itertools.permutations(range(len(taps)), 2):
        if sum(abs(a - b) for a, b in zip(taps[i], taps[j], strict=True)) == 1:
            matrix[i, j] -= 1
            matrix[i, i] += 1
    return matrix


def dense_spectrum(filters: list[np.ndarray]) -> pd.DataFrame:
    """Equation 3 for each eigenvector of the dense Laplacian, then summed over equal eigenvalues."""
    values, vectors = np.linalg.eigh(laplacian(filters[0].shape))
    gamma = np.square(np.stack([w.ravel() for w in filters]) @ vectors).mean(axis=0)
    rows: list[dict] = []
    for value, power in zip(values, gamma, strict=True):
        if not rows or value > rows[-1]["eigenvalue"] + 1e-6:
            rows.append({"eigenvalue": value, "multiplicity": 0, "power": 0.0})
        rows[-1]["multiplicity"] += 1
        rows[-1]["power"] += power
    return pd.DataFrame(rows)


def filters_of(weight: torch.Tensor) -> list[np.ndarray]:
    weight = weight.detach().double().numpy()
    return [weight[c, d] for c in range(weight.shape[0]) for d in range(weight.shape[1])]


def check_against_dense(table: pd.DataFrame, filters: list[np.ndarray]) -> None:
    expected = dense_spectrum(filters)
    total = np.mean([np.sum(w**2) for w in filters])
    matrix = laplacian(filters[0].shape)
    quadratic = np.mean([w.ravel() @ matrix @ w.ravel() for w in filters])
    assert table["level"].tolist() == list(range(len(expected)))
    assert table["multiplicity"].tolist() == expected["multiplicity"].tolist()
    np.testing.assert_allclose(table["eigenvalue"], expected["eigenvalue"], rtol=0, atol=1e-12)
    # eigh's vectors of eigenvalues 1e-2 apart (16x16) are right to 1e-12 / 1e-2.
    np.testing.assert_allclose(table["power"], expected["power"], rtol=1e-10, atol=1e-12 * total)
    np.testing.assert_allclose(table["share"], expected["power"] / total, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(table["total_power"], total, rtol=1e-13)
    np.testing.assert_allclose(table["power"].sum(), total, rtol=1e-13)
    np.testing.assert_allclose(table["white_share"], expected["multiplicity"] / filters[0].size, rtol=1e-14)
    assert table["filters"].tolist() == [len(filters)] * len(expected)
    assert (table["note"] == "").all()
    mean_eigenvalue = np.trace(matrix) / filters[0].size
    content = frequency_content(table)["frequency"].item()
    assert content == pytest.approx(quadratic / total / mean_eigenvalue, rel=1e-12)


def convolution(kernel: tuple[int, ...], inputs: int = 3, outputs: int = 4, **options) -> nn.Module:
    kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(kernel)]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(inputs, outputs, kernel, **options)


def with_filters(*filters: list) -> nn.Conv2d | nn.Conv1d:
    """A convolution from one channel to as many as there are filters."""
    weight = torch.tensor(filters, dtype=torch.float64)[:, None]
    made = convolution(tuple(weight.shape[2:]), 1, len(filters), dtype=torch.float64)
    made.weight.data.copy_(weight)
    return made


@pytest.mark.parametrize(
    "kernel",
    [(3, 3), (5, 5), (7, 7), (3,), (2,), (1, 7), (3, 1), (2, 4), (11, 11), (16, 16), (3, 3, 3), (2, 3, 4)],
)
def test_spectrum_is_that_of_the_dense_eigenvectors(kernel: tuple[int, ...]):
    made = convolution(kernel)
    table = filter_spectrum(made)
    check_against_dense(table, filters_of(made.weight))
    assert list(table.columns) == COLUMNS
    assert (table["kernel"] == "x".join(map(str, kernel))).all()
    assert table["init_share"].isna().all()
    assert (table["model"] == type(made).__name__).all()


@pytest.mark.parametrize(("groups", "pairs"), [(1, 8 * 4), (2, 8 * 2), (4, 8)])
def test_only_the_pairs_of_a_group_count(groups: int, pairs: int):
    made = convolution((3, 3), 4, 8, groups=groups)
    table = filter_spectrum(made)
    assert (table["filters"] == pairs).all()
    check_against_dense(table, filters_of(made.weight))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kind", [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d])
def test_transposed_convolutions_have_filters_like_any_other(kind: type, groups: int):
    made = kind(4, 8, 3, groups=groups)
    table = filter_spectrum(made)
    assert (table["filters"] == 8 * 4 // groups).all()
    check_against_dense(table, filters_of(made.weight))    # the set of filters; which is whose does not matter


def test_dilation_is_said_and_does_not_enter():
    plain, dilated = convolution((3, 5)), convolution((3, 5), dilation=(2, 3))
    one, other = filter_spectrum(plain), filter_spectrum(dilated)
    assert (one["dilation"] == "1x1").all()
    assert (other["dilation"] == "2x3").all()
    pd.testing.assert_frame_equal(one.drop(columns="dilation"), other.drop(columns="dilation"))


def test_parametrised_weights_count_as_they_act():
    made = parametrizations.weight_norm(convolution((3, 3)))
    with torch.no_grad():
        made.parametrizations.weight.original0.mul_(torch.tensor([1.0, 2, 3, 4]).view(-1, 1, 1, 1))
    images = torch.randn(1, 3, 8, 8, generator=seeded(0))
    effective = made.weight.detach().clone()
    torch.testing.assert_close(made(images), nn.functional.conv2d(images, effective, made.bias))
    table = filter_spectrum(made)
    check_against_dense(table, filters_of(effective))
    direction = made.parametrizations.weight.original1
    assert table["total_power"][0] > 2 * direction.square().sum(dim=(2, 3)).mean().item()    # these are others


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_low_precision_weights_are_read_in_float64(dtype: torch.dtype):
    made = convolution((3, 3), 64, 64).to(dtype)
    table = filter_spectrum(made)
    check_against_dense(table, filters_of(made.weight))
    exact = convolution((3, 3), 64, 64, dtype=torch.float64)
    exact.weight.data.copy_(made.weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pd.testing.assert_frame_equal(filter_spectrum(exact), table, check_exact=True)


@pytest.mark.gpu
def test_weights_on_a_device_give_the_same_table():
    made = convolution((3, 3))
    expected = filter_spectrum(made)
    pd.testing.assert_frame_equal(filter_spectrum(made.cuda()), expected, check_exact=True)


def test_a_constant_filter_has_share_1_at_level_0_and_no_frequency():
    table = filter_spectrum(with_filters(*(np.full((3, 3), value).tolist() for value in (1.0, -2.0))))
    np.testing.assert_allclose(table["share"], [1, 0, 0, 0, 0, 0], rtol=0, atol=1e-15)
    np.testing.assert_allclose(table["power"], [(9 + 36) / 2, 0, 0, 0, 0, 0], rtol=0, atol=1e-13)
    np.testing.assert_allclose(table["share_se"], 0, atol=1e-15)    # every filter has that share
    content = frequency_content(table)
    assert content["frequency"].item() == pytest.approx(0, abs=1e-14)
    assert content["frequency_se"].item() == pytest.approx(0, abs=1e-14)


def test_the_checkerboard_is_the_highest_frequency():
    table = filter_spectrum(with_filters([[1, -1], [-1, 1]]))
    np.testing.assert_allclose(table["share"], [0, 0, 1], rtol=0, atol=1e-15)
    assert frequency_content(table)["frequency"].item() == pytest.approx(2, rel=1e-14)    # eigenvalue 4, mean 2


@pytest.mark.parametrize(("place", "neighbours"), [((0, 0), 2), ((0, 1), 3), ((1, 1), 4)])
def test_a_single_tap_has_the_frequency_of_its_number_of_neighbours(place: tuple[int, int], neighbours: int):
    tap = np.zeros((3, 3))
    tap[place] = 5
    frequency = frequency_content(filter_spectrum(with_filters(tap.tolist())))["frequency"].item()
    assert frequency == pytest.approx(neighbours / (24 / 9), rel=1e-13)    # 12 edges: mean degree 24 / 9


def test_single_taps_everywhere_are_white():
    table = filter_spectrum(with_filters(*np.eye(9).reshape(9, 3, 3).tolist()))
    np.testing.assert_allclose(table["share"], table["white_share"], rtol=1e-13)
    assert frequency_content(table)["frequency"].item() == pytest.approx(1, rel=1e-13)


def test_a_filter_of_a_known_mixture():
    # 1D, 3 taps: modes (1, 1, 1) / √3, (1, 0, -1) / √2, (1, -2, 1) / √6 with eigenvalues 0, 1, 3.
    table = filter_spectrum(with_filters([1.0, 0.0, 0.0]))
    np.testing.assert_allclose(table["eigenvalue"], [0, 1, 3], rtol=0, atol=1e-14)
    np.testing.assert_allclose(table["power"], [1 / 3, 1 / 2, 1 / 6], rtol=1e-14)
    assert frequency_content(table)["frequency"].item() == pytest.approx((1 / 2 + 3 / 6) / (4 / 3), rel=1e-13)


@pytest.mark.parametrize("kernel", [(3, 3), (7, 7), (5,)])
def test_random_filters_are_white_within_their_standard_error(kernel: tuple[int, ...]):
    made = convolution(kernel, 128, 128)
    nn.init.normal_(made.weight, generator=seeded(1))
    table = filter_spectrum(made)
    assert (table["share_se"] < 0.02 * table["white_share"]).all(), "too coarse to judge"
    assert ((table["share"] - table["white_share"]).abs() < 5 * table["share_se"]).all()
    content = frequency_content(table)
    assert 0 < content["frequency_se"].item() < 0.01
    assert abs(content["frequency"].item() - 1) < 5 * content["frequency_se"].item()


def scattered_layers(layers: int, filters: int) -> nn.ModuleList:
    """Layers of filters drawn alike: smooth filters large and rough ones small, so that shares and norms correlate."""
    generator = seeded(3)
    made = nn.ModuleList(nn.Conv2d(1, filters, 3, dtype=torch.float64) for _ in range(layers))
    for layer in made:
        rough = torch.randn(filters, 1, 3, 3, generator=generator, dtype=torch.float64)
        smooth = torch.randn(filters, 1, 1, 1, generator=generator, dtype=torch.float64)
        scale = torch.rand(filters, 1, 1, 1, generator=generator, dtype=torch.float64)
        layer.weight.data.copy_(scale * (rough + 2 * smooth * scale))
    return made


def test_standard_errors_are_the_scatter_of_layers_drawn_alike():
    layers = 800
    table = filter_spectrum(scattered_layers(layers, 400))
    shares = table.pivot(index="position", columns="level", values="share")
    errors = table.pivot(index="position", columns="level", values="share_se")
    content = frequency_content(table)
    scatter = [*shares.std(), content["frequency"].std()]
    claimed = [*(errors**2).mean() ** 0.5, (content["frequency_se"] ** 2).mean() ** 0.5]
    # A standard deviation from 800 near-Gaussian values is known to 1 / sqrt(1600) = 2.5 %; delta method: 1 / 400.
    for one, other in zip(scatter, claimed, strict=True):
        assert one / other == pytest.approx(1, abs=4 * 0.025)


def test_a_single_filter_has_no_standard_error():
    table = filter_spectrum(convolution((3, 3), 1, 1))
    assert table["share_se"].isna().all()
    assert table["share"].notna().all()
    assert math.isnan(frequency_content(table)["frequency_se"].item())


def test_memory_is_bounded_and_parts_do_not_matter(monkeypatch: pytest.MonkeyPatch):
    made = convolution((3, 3), 16, 16)
    whole = filter_spectrum(made)
    sizes = []

    def spy(filters: torch.Tensor) -> torch.Tensor:
        sizes.append(filters.numel())
        return level_powers(filters)

    level_powers = spectrum_module.level_powers
    monkeypatch.setattr(spectrum_module, "level_powers", spy)
    monkeypatch.setattr(spectrum_module, "_AT_ONCE", 100)
    parts = filter_spectrum(made)
    assert len(sizes) > 40
    assert max(sizes) <= 100
    pd.testing.assert_frame_equal(parts, whole, rtol=1e-12, atol=0)
    monkeypatch.setattr(spectrum_module, "_AT_ONCE", 5)    # less than one filter: one at a time
    pd.testing.assert_frame_equal(filter_spectrum(made), whole, rtol=1e-12, atol=0)


def test_a_kernel_of_one_tap_has_one_row_without_shares():
    made = convolution((1, 1))
    row = filter_spectrum(made, initial=convolution((1, 1))).squeeze()
    assert (row["level"], row["eigenvalue"], row["multiplicity"]) == (0, 0, 1)
    assert row["power"] == row["total_power"] == pytest.approx(made.weight.double().square().mean().item(), rel=1e-14)
    assert row[["share", "share_se", "white_share", "init_share", "frequency_se"]].isna().all()
    assert row["note"] == "1x1: no spectrum"
    assert filter_spectrum(convolution((1,)))["note"].item() == "1: no spectrum"
    content = frequency_content(filter_spectrum(made)).squeeze()
    assert content[["frequency", "frequency_se", "init_frequency"]].isna().all()


@pytest.mark.parametrize(
    ("value", "note"), [(0.0, "all filters are zero"), (math.nan, "not finite"), (math.inf, "not finite")]
)
def test_filters_without_shares_say_why(value: float, note: str):
    made, sound = convolution((3, 3)), convolution((3, 3))
    if value:
        made.weight.data[1, 2, 0, 0] = value    # a single tap of one filter
    else:
        made.weight.data.zero_()
    table = filter_spectrum(made)
    assert table[["share", "share_se", "init_share", "frequency_se"]].isna().all(axis=None)
    assert (table["note"] == note).all()
    assert table["white_share"].notna().all()
    assert math.isnan(frequency_content(table)["frequency"].item())
    other = filter_spectrum(sound, initial=made)
    assert other["init_share"].isna().all()
    assert other["share"].notna().all()
    assert (other["note"] == f"initial: {note}").all()


def test_powers_beyond_float64_give_no_shares():
    # 9e310 at level 0, and rounding, which is finite, elsewhere: dividing would claim shares of 0 there.
    table = filter_spectrum(with_filters(np.full((3, 3), 1e155).tolist(), np.full((3, 3), 1e155).tolist()))
    assert np.isfinite(table["power"][1:]).any()
    assert table["share"].isna().all()
    assert (table["note"] == "not finite").all()


def test_no_filters_at_all():
    with pytest.warns(UserWarning, match="zero-element"):
        made = nn.Conv2d(3, 0, 3)
    table = filter_spectrum(made)
    assert (table["note"] == "no filters").all()
    assert (table["filters"] == 0).all()


def test_the_initial_share_is_that_of_the_initial_model():
    model, initial = load_model("poolscope:minivgg", seed=0), load_model("poolscope:minivgg", seed=1)
    with torch.no_grad():    # as training would, towards pooling
        model.features[0].weight.copy_(model.features[0].weight.mean(dim=(2, 3), keepdim=True).expand(-1, -1, 3, 3))
    table, start = filter_spectrum(model, initial=initial), filter_spectrum(initial)
    pd.testing.assert_series_equal(table["init_share"], start["share"], check_names=False)
    assert not np.allclose(table["share"], table["init_share"], rtol=1e-3)
    content, start_content = frequency_content(table), frequency_content(start)
    pd.testing.assert_series_equal(content["init_frequency"], start_content["frequency"], check_names=False)
    assert content["frequency"][0] == pytest.approx(0, abs=1e-14)
    assert content["init_frequency"][0] > 0.5


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 5)
        self.side = nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 8, 3, groups=2))
        self.again = self.stem


def test_layers_are_numbered_among_all_convolutions_chosen_or_not():
    model = Mixed()
    everything = filter_spectrum(model)
    assert everything["layer"].drop_duplicates().tolist() == ["stem", "side.1", "side.2"]    # a shared one once
    assert everything.groupby("layer")["position"].unique().map(list).to_dict() == {
        "stem": [1],
        "side.1": [2],
        "side.2": [3],
    }
    for choice in (r"side\..*", ["side.2", "side.1"]):
        chosen = filter_spectrum(model, convolutions=choice)
        expected = everything[everything["layer"] != "stem"].reset_index(drop=True)
        pd.testing.assert_frame_equal(chosen, expected)


def test_a_model_without_convolutions_has_an_empty_table():
    table = filter_spectrum(nn.Linear(3, 3))
    assert list(table.columns) == COLUMNS
    assert len(table) == 0
    assert table.dtypes.to_dict() == filter_spectrum(Mixed()).dtypes.to_dict()
    content = frequency_content(table)
    assert list(content.columns) == ["layer", "position", "model", "frequency", "frequency_se", "init_frequency"]
    assert len(content) == 0
    assert content.dtypes.to_dict() == frequency_content(filter_spectrum(Mixed())).dtypes.to_dict()


def test_the_model_column_is_the_name_by_which_it_was_loaded():
    model = load_model("poolscope:vgg11", width=0.0625)
    assert set(filter_spectrum(model)["model"]) == {"poolscope:vgg11"}
    assert set(filter_spectrum(nn.DataParallel(model))["model"]) == {"poolscope:vgg11"}
    assert set(filter_spectrum(model, name="ours")["model"]) == {"ours"}


def test_the_model_comes_back_untouched():
    model = nn.Sequential(
        parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)),    # reading it in training mode takes a step of iteration
        nn.BatchNorm2d(4),
        parametrizations.weight_norm(nn.Conv2d(4, 4, 3)),
        nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last),
    ).train()
    model[1].eval()
    model[2].eval()
    modes = {name: module.training for name, module in model.named_modules()}
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    filter_spectrum(model, initial=model)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert model[3].weight.is_contiguous(memory_format=torch.channels_last)
    _ = model[0].weight
    key = "0.parametrizations.weight.0._u"
    assert not torch.equal(model.state_dict()[key], before[key])    # it does


class Failing(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        if not self.training:
            raise KeyError("no weight today")
        return weight


def test_a_mode_is_put_back_after_an_error():
    made = convolution((3, 3))
    nn.utils.parametrize.register_parametrization(made, "weight", Failing())
    with pytest.raises(KeyError):
        filter_spectrum(made)
    assert all(module.training for module in made.modules())


REAL = [
    ("torchvision:alexnet", {}, {"features.0": "11x11", "features.3": "5x5", "features.6": "3x3"}),
    ("timm:vit_tiny_patch16_224", {"num_classes": 2}, {"patch_embed.proj": "16x16"}),
    ("timm:convnext_atto", {"num_classes": 2}, {"stem.0": "4x4", "stages.0.blocks.0.conv_dw": "7x7"}),
    ("poolscope:vgg11", {}, {"features.0": "3x3", "features.3": "3x3"}),
]


@pytest.mark.parametrize(("name", "options", "kernels"), REAL)
def test_real_networks(name: str, options: dict, kernels: dict[str, str]):
    if importlib.util.find_spec(name.partition(":")[0]) is None:
        pytest.skip(f"{name} needs a library that is not installed")
    model = load_model(name, seed=0, **options)
    table = filter_spectrum(model)
    for layer, kernel in kernels.items():
        rows = table[table["layer"] == layer].reset_index(drop=True)
        assert set(rows["kernel"]) == {kernel}
        check_against_dense(rows, filters_of(model.get_submodule(layer).weight))
    spatial = table[table["note"] == ""]
    assert (spatial.groupby("layer")["share"].sum() - 1).abs().max() < 1e-12
    # These are drawn independently at initialisation.
    assert (spatial["share_se"] > 0).all()
    assert ((spatial["share"] - spatial["white_share"]).abs() < 6 * spatial["share_se"]).all()


def test_frequency_content_of_several_models_at_once():
    one, two = filter_spectrum(Mixed(), name="one"), filter_spectrum(Mixed(), name="two")
    both = frequency_content(pd.concat([two, one], ignore_index=True))
    assert both["model"].drop_duplicates().tolist() == ["two", "one"]
    expected = pd.concat([frequency_content(two), frequency_content(one)], ignore_index=True)
    pd.testing.assert_frame_equal(both, expected)


def test_frequency_content_needs_every_level_once():
    table = filter_spectrum(convolution((3, 3)), name="net")
    with pytest.raises(ValueError, match=r"every level.*all 9 modes of 3x3; '' of 'net' has 7"):
        frequency_content(table[table["level"] != 1])
    with pytest.raises(ValueError, match=r"has 18"):
        frequency_content(pd.concat([table, table]))
    with pytest.raises(ValueError, match=r"filter_spectrum; it lacks init_share, share"):
        frequency_content(table.drop(columns=["share", "init_share"]))


def test_initial_must_have_the_same_structure():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    with pytest.raises(ValueError, match=r"structure of the model; convolution '1' is not in it"):
        filter_spectrum(model, initial=nn.Sequential(nn.Conv2d(3, 4, 3)))
    with pytest.raises(ValueError, match=r"'1' has 4 <- 4 .*1 groups, kernel 3x3, the initial one .*2 groups"):
        filter_spectrum(model, initial=nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, groups=2)))
    with pytest.raises(ValueError, match=r"kernel 3x3, the initial one .*kernel 5x5"):
        filter_spectrum(model, initial=nn.Sequential(nn.Conv2d(3, 4, 5), nn.Conv2d(4, 4, 3)))
    assert len(filter_spectrum(model, initial=nn.Sequential(nn.Conv2d(3, 4, 3)), convolutions=["0"])) == 6


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"'steam' is none of stem"):
        filter_spectrum(Mixed(), convolutions=["steam"])
    with pytest.raises(ValueError, match=r"'conv' matches none of stem, side.1, side.2"):
        filter_spectrum(Mixed(), convolutions="conv")
    with pytest.raises(ValueError, match=r"lazy model must have seen an input"):
        filter_spectrum(nn.LazyConv2d(3, 3))
    with pytest.raises(TypeError, match=r"weights must be real.*complex64"):
        filter_spectrum(nn.Conv2d(3, 3, 3, dtype=torch.complex64))
    with pytest.raises(ValueError, match=r"must have values; those of '0' are on the device 'meta'"):
        filter_spectrum(nn.Sequential(nn.Conv2d(3, 3, 3, device="meta")))
