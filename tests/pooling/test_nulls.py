"""Mean and Gaussian filters against loops over channels, and what an averaged filter that kills the signal leaves."""

import inspect
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import poolscope as ps
from helpers import seeded
from poolscope.networks import load_model
from poolscope.pooling import gaussian_filters, mean_channel


def random_weights(model: nn.Module, seed: int = 0) -> nn.Module:
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) + 0.5)
    return model.eval()


def network() -> nn.Module:
    return random_weights(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, groups=2, bias=False),
            nn.ConvTranspose2d(6, 4, 2, groups=2), nn.Flatten(), nn.Linear(144, 2),
        )
    )  # fmt: skip


def changed(model: nn.Module, after: nn.Module) -> set[str]:
    own = model.state_dict()
    assert list(own) == list(after.state_dict())
    return {name for name, value in after.state_dict().items() if not torch.equal(value, own[name])}


def test_every_filter_becomes_the_mean_filter() -> None:
    model = network()
    after = mean_channel(model)
    assert changed(model, after) == {"0.weight", "0.bias", "3.weight", "4.weight", "4.bias"}
    for number in (0, 3, 4):
        weight = model[number].weight.detach()
        expected = torch.zeros(weight.shape[2:], dtype=torch.float64)
        for first, second in itertools.product(range(weight.shape[0]), range(weight.shape[1])):
            expected += weight[first, second].double() / (weight.shape[0] * weight.shape[1])
        for first, second in itertools.product(range(weight.shape[0]), range(weight.shape[1])):
            # float32 of sums of at most 12 numbers of order 1, in float64
            torch.testing.assert_close(after[number].weight[first, second].double(), expected, rtol=1e-6, atol=1e-7)
        if model[number].bias is not None:
            mean = sum(model[number].bias.tolist()) / len(model[number].bias)
            torch.testing.assert_close(after[number].bias, torch.full((len(model[number].bias),), mean))


def test_published_average_leaves_each_colour_its_own_filter() -> None:
    model = network()
    after = mean_channel(model, average="published")
    weight, found = model[0].weight.detach(), after[0].weight
    for colour in range(3):
        expected = (weight[0, colour] + weight[1, colour] + weight[2, colour] + weight[3, colour]) / 4
        for output in range(4):
            torch.testing.assert_close(found[output, colour], expected)
    assert not torch.allclose(found[:, 0], found[:, 1], atol=0.01)
    everywhere = mean_channel(model)
    assert torch.equal(after[3].weight, everywhere[3].weight)
    assert torch.equal(after[4].weight, everywhere[4].weight)
    # the first convolution of the model, whichever are chosen
    assert torch.equal(mean_channel(model, average="published", convolutions=["3"])[3].weight, everywhere[3].weight)


def test_only_the_chosen_convolutions() -> None:
    model = network()
    assert changed(model, mean_channel(model, convolutions=["4"])) == {"4.weight", "4.bias"}
    assert changed(model, mean_channel(model, convolutions="0|3")) == {"0.weight", "0.bias", "3.weight"}
    assert changed(model, gaussian_filters(model, generator=seeded(0), convolutions=["3"])) == {"3.weight"}
    shared = mean_channel(model, convolutions=["3"], share=True)
    assert {name for name, p in shared.named_parameters() if p is model.get_parameter(name)} == {
        name for name, _ in model.named_parameters() if name != "3.weight"
    }


def test_equal_filters_are_their_own_mean() -> None:
    model = network()
    once = mean_channel(model, convolutions=["0", "4"])
    x = torch.randn(2, 3, 9, 9, generator=seeded(1))
    torch.testing.assert_close(mean_channel(once, convolutions=["0", "4"])(x), once(x))


def test_averaged_filters_that_kill_the_signal_give_nan_with_a_note() -> None:
    """Two filters of mean weight below 0: images above 0 end at the ReLU, though each filter by itself passed some."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, bias=False), nn.ReLU(), nn.Conv2d(2, 2, 3, bias=False), nn.ReLU(), nn.Flatten()
    )  # fmt: skip
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, -1.5]).view(2, 1, 1, 1).expand(2, 1, 3, 3))
        model[2].weight.fill_(1.0)
    images = torch.rand(8, 1, 12, 12, generator=seeded(1)) + 0.5
    options: dict[str, Any] = {"layers": "all", "progress": False, "seed": 1}
    alive = ps.measure(model, images, ps.Diffeomorphism(0.3, 2), **options).table
    assert bool((alive["R"] > 0).all())
    dead = ps.measure(mean_channel(model), images, ps.Diffeomorphism(0.3, 2), **options).table.set_index("layer")
    for layer in ("input", "0"):
        assert dead.loc[layer, "R"] > 0
        assert dead.loc[layer, "note"] == ""
    for layer in ("1", "2", "3", "output"):
        assert all(math.isnan(dead.loc[layer, name]) for name in ("D", "G", "R"))
        assert "constant" in dead.loc[layer, "note"]


def test_gaussian_filters_have_the_mean_and_variance_of_their_layer() -> None:
    model = random_weights(nn.Sequential(nn.Conv2d(32, 64, 3), nn.ConvTranspose2d(64, 32, 5, groups=2)))
    with torch.no_grad():
        model[0].weight.mul_(3.0)
        model[1].weight.uniform_(-1, 0.5, generator=seeded(4))  # not Gaussian before
    after = gaussian_filters(model, generator=seeded(0))
    assert changed(model, after) == {"0.weight", "1.weight"}
    for number in (0, 1):
        before, found = model[number].weight.double().flatten(), after[number].weight.double().flatten()
        count = len(found)
        mean, std = before.mean(), before.std(correction=0)
        assert count > 1e4
        assert abs(found.mean() - mean) < 5 * std / count**0.5
        assert abs(found.var() - std**2) < 5 * std**2 * (2 / count) ** 0.5
        standard = (found - mean) / std
        # fourth moment of a Gaussian is 3, its variance 96
        assert abs(standard.pow(4).mean() - 3) < 5 * (96 / count) ** 0.5
        inside = (standard.abs() < 1).double().mean()
        assert abs(inside - 0.6827) < 5 * (0.6827 * 0.3173 / count) ** 0.5


def test_gaussian_filters_have_no_structure_in_space_or_between_channels() -> None:
    model = nn.Conv2d(64, 64, 3)
    with torch.no_grad():
        model.weight.copy_(torch.linspace(-1, 1, 3).expand(64, 64, 3, 3) + torch.arange(64).view(64, 1, 1, 1) / 64)
    found = gaussian_filters(model, generator=seeded(0)).weight.double()
    old, new = ((w - w.mean()) / w.std() for w in (model.weight.double(), found))

    def correlations(w: Tensor) -> list[float]:
        pairs = [(w[..., :-1], w[..., 1:]), (w[..., :-1, :], w[..., 1:, :]), (w[:-1], w[1:]), (w[:, :-1], w[:, 1:])]
        return [(a * b).mean().item() for a, b in pairs]

    error = 1 / (64 * 64 * 6) ** 0.5  # of a mean over the fewest pairs, those of taps
    assert max(abs(value) for value in correlations(new)) < 5 * error
    assert min(abs(value) for value in correlations(old)) > 15 * error  # it can fail


def test_one_seed_one_draw() -> None:
    model = network()
    before = torch.get_rng_state()
    one, two, other = (gaussian_filters(model, generator=seeded(seed)) for seed in (5, 5, 6))
    assert torch.equal(before, torch.get_rng_state())
    assert changed(one, two) == set()
    assert changed(one, other) == {"0.weight", "3.weight", "4.weight"}
    unchecked: Any = inspect.unwrap(gaussian_filters)  # the annotations, checked in tests, refuse None as well
    with pytest.raises(TypeError, match=r"generator must be a torch\.Generator.*got NoneType"):
        unchecked(model, generator=None)


NULLS: dict[str, Callable[..., nn.Module]] = {
    "mean": mean_channel,
    "gaussian": lambda model, **options: gaussian_filters(model, generator=seeded(3), **options),
}


@pytest.mark.parametrize("null", NULLS.values(), ids=NULLS)
def test_the_model_stays_and_precision_is_kept(null: Callable[..., nn.Module]) -> None:
    for dtype in (torch.bfloat16, torch.float64):
        model = network().to(dtype)
        state = {name: value.clone() for name, value in model.state_dict().items()}
        after = null(model)
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
        assert [p.dtype for p in after.parameters()] == [p.dtype for p in model.parameters()]
        assert bool(torch.isfinite(after(torch.ones(2, 3, 9, 9, dtype=dtype))).all())


@pytest.mark.parametrize("null", NULLS.values(), ids=NULLS)
def test_parametrised_and_wrapped_models(null: Callable[..., nn.Module]) -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.ReLU()).eval()
    x = torch.randn(2, 3, 9, 9, generator=seeded(1))
    expected = model(x)
    after = null(nn.DataParallel(model))
    assert type(after[0]) is nn.Conv2d
    weight = model[0].weight
    scatter = weight.std().item() / weight.numel() ** 0.5
    torch.testing.assert_close(after[0].weight.mean(), weight.mean(), rtol=0, atol=5 * scatter)
    assert torch.equal(model(x), expected)


@pytest.mark.parametrize("null", NULLS.values(), ids=NULLS)
def test_recalibrated_copies(null: Callable[..., nn.Module]) -> None:
    model = network()
    images = torch.randn(20, 3, 9, 9, generator=seeded(1))
    after = null(model, recalibrate=images)
    features = after[0](images)
    torch.testing.assert_close(after[1].running_mean, features.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after[1].running_var, features.var(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert bool((model[1].running_mean == 0).all())
    assert torch.equal(null(model)[1].running_mean, model[1].running_mean)


@pytest.mark.parametrize("null", NULLS.values(), ids=NULLS)
def test_depthwise_networks_of_a_library(null: Callable[..., nn.Module]) -> None:
    model = load_model("timm:mobilenetv3_small_050", seed=0)
    after = null(model)
    convs = {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, nn.Conv2d)}
    moved = changed(model, after)
    biases = {name.replace(".weight", ".bias") for name in convs}
    assert convs <= moved <= convs | biases
    assert bool(torch.isfinite(after(torch.randn(2, 3, 32, 32, generator=seeded(1)))).all())


@pytest.mark.parametrize("null", NULLS.values(), ids=NULLS)
@pytest.mark.parametrize(
    ("model", "options", "kind", "message"),
    [
        (nn.Linear(2, 2), {}, ValueError, r"must have a convolution \(as a module\) whose filters.*Linear has none"),
        (nn.Conv2d(3, 3, 3), {"convolutions": "stem"}, ValueError, "'stem' matches none of "),
        (torch.jit.script(nn.Conv2d(3, 3, 3)), {}, TypeError, "model must be an eager nn.Module"),
        (nn.Sequential(nn.utils.spectral_norm(nn.Conv2d(3, 3, 3))), {}, ValueError, "got '0' without"),
    ],
)
def test_refusals(
    null: Callable[..., nn.Module], model: nn.Module, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        null(model, **options)


def test_an_unknown_average_is_refused() -> None:
    with pytest.raises(ValueError, match="average must be one of all, published; got 'sum'"):
        mean_channel(network(), average="sum")
