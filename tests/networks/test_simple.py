"""The simple CNNs of section 4 against slow loops, in expectation over their initial weights, and by name."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import poolscope as ps
from helpers import seeded
from poolscope.networks import load_model, model_name, preprocessing, weights_facts, write_weights
from poolscope.networks.simple import SimpleCNN

NAME = "poolscope:simplecnn"
FORMULAS: dict[str, Any] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "swish": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
}


def network(**options: Any) -> SimpleCNN:
    model = load_model(NAME, **{"seed": 0, "depth": 2, "channels": 5, **options})
    assert isinstance(model, SimpleCNN)
    return model.double()


def rows(number: int, channels: int, *size: int) -> Tensor:
    return torch.randn(number, channels, *size, generator=seeded(1), dtype=torch.float64)


def slowly(model: SimpleCNN, images: np.ndarray, phi: Any, *, stride: int, outside: str, left: int) -> np.ndarray:
    """Section 4's network, pixel by pixel and tap by tap."""
    dim = images.ndim - 2
    for layer in model.layers:
        weight = layer.weight.detach().numpy()
        channels, inputs, size, *_ = weight.shape
        sides = images.shape[2:]
        values = np.zeros((len(images), channels, *[side // stride for side in sides]))
        for output in np.ndindex(*values.shape[2:]):
            for taps in np.ndindex(*[size] * dim):
                pixel = tuple(stride * b + tap - left for b, tap in zip(output, taps, strict=True))
                if outside == "zero" and any(not 0 <= x < side for x, side in zip(pixel, sides, strict=True)):
                    continue
                pixel = tuple(x % side for x, side in zip(pixel, sides, strict=True))
                values[:, :, *output] += images[:, :, *pixel] @ weight[:, :, *taps].T
        values /= math.sqrt(inputs * size**dim)
        if layer.bias is not None:
            values += layer.bias.detach().numpy().reshape(-1, *[1] * dim)
        images = math.sqrt(size**dim) * phi(values)
    average = images.reshape(*images.shape[:2], -1).mean(2)
    beta, bias = model.readout.detach().numpy(), model.readout_bias.detach().numpy()
    return average @ beta / len(beta) + bias


@pytest.mark.parametrize("activation", FORMULAS)
@pytest.mark.parametrize("dim", [1, 2])
def test_forward_is_the_definition(activation: str, dim: int) -> None:
    model = network(dim=dim, activation=activation, num_classes=2, in_channels=2)
    images = rows(3, 2, *(6, 5)[:dim])
    expected = slowly(model, images.numpy(), FORMULAS[activation], stride=1, outside="circular", left=1)
    np.testing.assert_allclose(model(images).detach(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"filter_size": 2}, 0),
        ({"filter_size": 4}, 1),
        ({"filter_size": 5, "outside": "zero"}, 2),
        ({"filter_size": 1}, 0),
        ({"filter_size": 2, "stride": 2}, 0),
        ({"filter_size": 3, "stride": 3}, 0),
        ({"filter_size": 3, "stride": 3, "alignment": "centred"}, 1),
        ({"filter_size": 3, "stride": 3, "alignment": "centred", "outside": "zero"}, 1),
        ({"filter_size": 4, "stride": 4, "alignment": "centred", "depth": 1}, 1),
        ({"bias": False}, 1),
    ],
)
@pytest.mark.parametrize("dim", [1, 2])
def test_windows_strides_and_no_bias(options: dict[str, Any], left: int, dim: int) -> None:
    model = network(dim=dim, **options)
    size, stride = options.get("filter_size", 3), options.get("stride", 1)
    images = rows(2, 1, *[size**2 if stride > 1 else 7] * dim)
    expected = slowly(
        model, images.numpy(), FORMULAS["relu"], stride=stride, outside=options.get("outside", "circular"), left=left
    )
    np.testing.assert_allclose(model(images).detach(), expected, rtol=1e-12, atol=1e-14)
    if options.get("bias") is False:
        assert not [name for name, _ in model.named_parameters() if name.endswith(".bias")]


def test_swish_takes_its_beta() -> None:
    images = rows(3, 1, 6)
    for beta in (0.0, 1.0, 3.0):
        expected = slowly(
            network(), images.numpy(), lambda x, b=beta: x / (1 + np.exp(-b * x)), stride=1, outside="circular", left=1
        )
        found = network(activation="swish", beta=beta)(images).detach()
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_every_layer_of_stride_f_divides_the_sides() -> None:
    """The authors' script, run as it is, strides in the first layer only: 64, 64, ... instead of 64, 32, ... 1."""
    model = network(depth=7, filter_size=2, stride=2)
    sides, images = [], rows(1, 1, 128)
    for layer in model.layers:
        images = layer(images)
        sides.append(images.shape[2])
    assert sides == [64, 32, 16, 8, 4, 2, 1]


def test_a_ring_has_no_first_pixel() -> None:
    images = rows(4, 1, 12)
    model = network(depth=3)
    torch.testing.assert_close(model(images.roll(5, 2)), model(images), rtol=1e-12, atol=1e-14)
    framed = network(depth=3, outside="zero")
    assert not torch.allclose(framed(images.roll(5, 2)), framed(images), rtol=1e-3)


@pytest.mark.parametrize(("filter_size", "published"), [(3, (2.9, 58.6)), (2, (2.0, 9.3))])
def test_mean_squares_at_initialisation(filter_size: int, published: tuple[float, float]) -> None:
    """E f_k² = F/2 (E f_{k-1}² + 1), exactly and at any width: a Gaussian's positive half has half of its variance.

    From images of mean square 1 it goes to 65.4 after 7 layers of F = 3, and to 8 of F = 2; the published code gave
    58.6 and 9.3 for one network.
    """
    length, depth, networks = 16, 7, 100
    task = torch.zeros(1, 1, length)
    task[0, 0, [2, 9]] = math.sqrt(length / 2)
    found = torch.empty(networks, depth, dtype=torch.float64)
    with torch.no_grad():
        for seed in range(networks):
            model = load_model(NAME, seed=seed, depth=depth, channels=128, filter_size=filter_size)
            images = task
            for number, layer in enumerate(model.layers):
                images = layer(images)
                found[seed, number] = images.double().square().mean()
    exact = [1.0]
    for _ in range(depth):
        exact.append(filter_size / 2 * (exact[-1] + 1))
    assert (exact[1], exact[-1]) == ((3.0, pytest.approx(65.34, abs=0.05)) if filter_size == 3 else (2.0, 8.0))
    error = found.std(0) / math.sqrt(networks)
    assert (error < 0.06 * torch.tensor(exact[1:])).all(), "too coarse to judge"
    assert ((found.mean(0) - torch.tensor(exact[1:])).abs() < 4 * error).all()
    for number, value in ((0, published[0]), (-1, published[1])):
        # one network of 1000 channels, whose deviations are as much smaller as the root of its width is larger
        deviation = float(found[:, number].std()) * math.sqrt(128 / 1000)
        assert abs(value - exact[1:][number]) < 2.5 * max(deviation, 0.05)


def test_initial_weights_are_standard_normal() -> None:
    model = load_model(NAME, seed=3, depth=3, channels=60)
    for layer in model.layers[1:]:
        values = layer.weight.detach()
        assert abs(values.mean()) < 5 / math.sqrt(values.numel())
        assert abs(values.var() - 1) < 5 * math.sqrt(2 / values.numel())
    assert isinstance(model, SimpleCNN)
    many = [load_model(NAME, seed=seed, depth=1, channels=50) for seed in range(40)]
    for name in ("layers.0.conv.weight", "layers.0.conv.bias", "readout", "readout_bias"):
        values = torch.cat([each.state_dict()[name].flatten() for each in many])
        assert abs(values.mean()) < 5 / math.sqrt(len(values))
        assert abs(values.var() - 1) < 5 * math.sqrt(2 / len(values))


@pytest.mark.parametrize("options", [{}, {"dim": 2, "filter_size": 2, "stride": 2, "activation": "swish", "beta": 2.0}])
def test_by_name_there_and_back(options: dict[str, Any], tmp_path: Path) -> None:
    before = torch.get_rng_state()
    model = load_model(NAME, seed=7, depth=2, channels=4, **options)
    assert torch.equal(torch.get_rng_state(), before)
    assert not model.training
    assert model_name(model) == NAME
    assert preprocessing(model) is None
    assert preprocessing(NAME) is None
    write_weights(model, tmp_path / "weights.safetensors")
    noted = weights_facts(tmp_path / "weights.safetensors")["model"]
    assert (noted["name"], noted["options"]) == (NAME, {"depth": 2, "channels": 4, **options})
    again = load_model(tmp_path / "weights.safetensors")
    assert isinstance(again, SimpleCNN)
    assert str(again) == str(model)
    images = rows(2, 1, *[8] * options.get("dim", 1)).float()
    assert torch.equal(again(images), model(images))
    assert [again.get_submodule(name) for name in again.representations] == list(again.layers)


def test_what_is_printed_says_all_but_weights() -> None:
    shown = {
        str(network(**options))
        for options in (
            {},
            {"channels": 6},
            {"depth": 3},
            {"in_channels": 2},
            {"dim": 2},
            {"filter_size": 5},
            {"filter_size": 3, "stride": 3},
            {"filter_size": 3, "stride": 3, "alignment": "centred"},
            {"outside": "zero"},
            {"activation": "tanh"},
            {"activation": "swish", "beta": 2.0},
            {"bias": False},
        )
    }
    assert len(shown) == 12
    assert str(network()) == str(network(seed=1))


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_rows_of_pixels_are_measured_layer_by_layer(activation: str) -> None:
    """By the names of its representations, also where there is no activation; the gain after it changes no D."""
    images = rows(6, 1, 12)
    model = network(depth=3, activation=activation)

    def moved(images: Tensor, **_: Any) -> Tensor:
        return images.roll(1, -1) + images.roll(2, -1) ** 2 / 3

    measured = ps.measure(
        model, images, deformation=moved, layers=model.representations, precision="float64", progress=False
    ).table.set_index("layer")
    one, other = images, moved(images)
    for name, layer in zip(model.representations, model.layers, strict=True):
        one, other = layer(one), layer(other)
        pairs = [(a - b).square().sum() for a, b in itertools.permutations(one, 2)]
        expected = float(((one - other).flatten(1).square().sum(1).mean() / torch.stack(pairs).mean()).detach())
        assert measured.loc[name, "D"] == pytest.approx(expected, rel=1e-9)
    if activation == "relu":
        active = ps.measure(
            model, images, deformation=moved, layers="activations", precision="float64", progress=False
        ).table
        assert list(active["layer"][1:-1]) == [f"{name}.activation" for name in model.representations]
        assert active["D"][1:-1].tolist() == pytest.approx(measured.loc[model.representations, "D"].tolist(), rel=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 3}, "dim must be 1 or 2, for rows or squares of pixels; got 3"),
        ({"depth": 0}, "depth must be a whole number, 1 or more; got 0"),
        ({"channels": 0}, "channels must be a whole number, 1 or more; got 0"),
        ({"stride": 2}, "stride must be 1 or the filter size 3.*got 2"),
        ({"activation": "sine"}, "activation must be one of relu, tanh.*got 'sine'"),
        ({"activation": "linear", "beta": 1.0}, "beta must be left out unless activation is swish.*'linear', beta=1.0"),
        ({"beta": 1.0}, "beta must be left out unless activation is swish.*got 'relu'"),
        ({"activation": "swish", "beta": -1.0}, "beta must be finite and not negative.*got -1.0"),
    ],
)
def test_impossible_networks_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_model(NAME, **options)


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({}, (2, 1, 8, 8), r"images must be \[N, 1, L\], for which.*got \[2, 1, 8, 8\]"),
        ({"dim": 2}, (2, 1, 8), r"images must be \[N, 1, H, W\].*got \[2, 1, 8\]"),
        ({"in_channels": 3}, (2, 1, 8), r"images must be \[N, 3, L\].*got \[2, 1, 8\]"),
        ({"filter_size": 2, "stride": 2}, (2, 1, 6), "multiples of its stride 2, or its last window.*got 3$"),
        ({"filter_size": 2, "stride": 2, "dim": 2}, (2, 1, 8, 6), "multiples of its stride 2.*got 4x3$"),
    ],
)
def test_images_it_was_not_built_for_are_refused(options: dict[str, Any], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**options)(torch.zeros(shape, dtype=torch.float64))


def test_gradients_are_those_of_the_definition() -> None:
    """By differences: the in-place activation and the gain overwrite nothing that the slopes need."""
    model = network(depth=2, channels=3)
    images = rows(2, 1, 5)
    model(images).sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        for place in itertools.islice(np.ndindex(*parameter.shape), 4):
            with torch.no_grad():
                at = float(parameter[place])
                sums = []
                for step in (1e-6, -1e-6):
                    parameter[place] = at + step
                    sums.append(float(model(images).sum()))
                parameter[place] = at
            assert (sums[0] - sums[1]) / 2e-6 == pytest.approx(float(parameter.grad[place]), rel=1e-6, abs=1e-8)
