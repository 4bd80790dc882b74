"""Activations: their values, the limits of swish, and that they replace every other one."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from poolscope.networks import VGG, load_model
from poolscope.networks.activation import Swish, activation_maker

FORMULAS: dict[str, Callable[[float], float]] = {
    "relu": lambda x: max(x, 0.0),
    "tanh": math.tanh,
    "gelu": lambda x: x / 2 * (1 + math.erf(x / math.sqrt(2))),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "softplus": lambda x: math.log(1 + math.exp(x)),
    "swish": lambda x: x / (1 + math.exp(-x)),
}
POINTS = (-30.0, -2.0, -0.3, 0.0, 0.7, 5.0, 30.0)
# relu, and what stands in its place: of one layer each; of the stem and the blocks' two or three; of the stem, each
# block's one or two, and inside each of 16 squeeze-and-excitations
COUNTS = {"fullconn4": 3, "lenet": 4, "alexnet": 7, "vgg11": 8, "vgg13_bn": 10, "resnet18": 9, "resnet50": 17}
COUNTS |= {"efficientnet_b0": 1 + 1 + 15 * 2 + 16}


@pytest.mark.parametrize("name", FORMULAS)
def test_values(name: str) -> None:
    module = activation_maker(name, None)()
    values = module(torch.tensor(POINTS, dtype=torch.float64)).tolist()
    assert values == pytest.approx([FORMULAS[name](x) for x in POINTS], rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 7.0])
def test_swish_is_x_times_sigmoid_of_beta_x(beta: float) -> None:
    module = activation_maker("swish", beta)()
    values = module(torch.tensor(POINTS, dtype=torch.float64)).tolist()
    assert values == pytest.approx([x / (1 + math.exp(-beta * x)) for x in POINTS], rel=1e-12, abs=1e-15)


def test_swish_goes_from_half_of_x_to_relu_with_the_same_odd_part() -> None:
    x = torch.linspace(-4, 4, 101, dtype=torch.float64)
    assert torch.equal(Swish(0.0)(x), x / 2)
    # |x| exp(-beta |x|) at most, which is largest at |x| = 1 / beta
    torch.testing.assert_close(Swish(1e6)(x), x.relu(), rtol=0, atol=1e-6 / math.e)
    for beta in (0.0, 0.2, 1.0, 30.0):
        torch.testing.assert_close((Swish(beta)(x) - Swish(beta)(-x)) / 2, x / 2, rtol=1e-14, atol=1e-16)
    assert "beta=0.2" in repr(Swish(0.2))


def test_every_call_makes_a_module_of_its_own() -> None:
    make = activation_maker("swish", 0.5)
    assert make() is not make()


@pytest.mark.parametrize("name", FORMULAS)
def test_an_activation_replaces_every_other(family: str, small: Callable[..., nn.Module], name: str) -> None:
    kind = type(activation_maker(name, None)())
    modules = list(small(family, activation=name).modules())
    nonlinear = [type(module) for module in modules if "torch.nn.modules.activation" in type(module).__module__]
    gates = 16 if family == "efficientnet_b0" else 0
    assert sorted(map(repr, nonlinear)) == sorted([repr(nn.Sigmoid)] * gates + [repr(kind)] * COUNTS[family])


def test_beta_reaches_every_swish(family: str, small: Callable[..., nn.Module]) -> None:
    betas = [
        module.beta for module in small(family, activation="swish", beta=0.3).modules() if isinstance(module, Swish)
    ]
    assert betas == [0.3] * COUNTS[family]


def test_vgg_with_tanh_is_the_slow_loop(
    convolve: Callable[..., np.ndarray], pool: Callable[[np.ndarray], np.ndarray]
) -> None:
    model = VGG(13, width=1 / 64, activation="tanh").double().eval()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = [value.detach().numpy() for value in model.parameters()]
    *convolutions, weight, bias = values
    features = images.numpy()
    for number in range(10):
        features = np.tanh(convolve(features, *convolutions[2 * number : 2 * number + 2], stride=1, padding=1))
        if number % 2:
            features = pool(features)
    np.testing.assert_allclose(model(images).detach(), features[:, :, 0, 0] @ weight.T + bias, rtol=1e-12)
    relu = VGG(13, width=1 / 64).double().eval()
    relu.load_state_dict(model.state_dict())
    assert not torch.allclose(relu(images), model(images))  # the activation matters


def test_a_network_of_the_linear_swish_is_affine() -> None:
    model = load_model("poolscope:fullconn6", activation="swish", beta=0.0, seed=0).double()
    one, other = torch.randn(2, 1, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    middle = model((one + other) / 2)
    torch.testing.assert_close(middle, (model(one) + model(other)) / 2, rtol=1e-12, atol=1e-15)
    bent = load_model("poolscope:fullconn6", activation="swish", beta=1.0, seed=0).double()
    assert not torch.allclose(bent((one + other) / 2), (bent(one) + bent(other)) / 2, rtol=1e-3)
