"""Networks trained at once, gradients by hand, against each one trained alone by torch's own differentiation."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers import seeded
from poolscope.networks import load_model
from poolscope.networks.simple import SimpleCNN
from poolscope.training.simple.stack import Stack

CHANNELS, DEPTH = 5, 3
STEPS, BATCH = 4, 6
LR, RIDGE = 0.02 * CHANNELS, 0.3

CASES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "relu": ({}, (7,)),
    "tanh": ({"activation": "tanh"}, (7,)),
    "swish": ({"activation": "swish"}, (7,)),
    "swish of 3": ({"activation": "swish", "beta": 3.0}, (7,)),
    "linear": ({"activation": "linear"}, (7,)),
    "stride 2": ({"filter_size": 2, "stride": 2}, (16,)),
    "stride 2 to one pixel": ({"filter_size": 2, "stride": 2}, (8,)),
    "stride 3": ({"filter_size": 3, "stride": 3}, (27,)),
    "stride 3 centred": ({"filter_size": 3, "stride": 3, "alignment": "centred"}, (27,)),
    "stride 3 centred, zero outside": (
        {"filter_size": 3, "stride": 3, "alignment": "centred", "outside": "zero", "activation": "tanh"},
        (54,),
    ),
    "zero outside": ({"outside": "zero"}, (7,)),
    "wide, zero outside": ({"outside": "zero", "filter_size": 5, "activation": "swish"}, (6,)),
    "no bias": ({"bias": False}, (7,)),
    "even": ({"filter_size": 4}, (9,)),
    "as wide as the ring": ({"filter_size": 5}, (5,)),
    "one tap": ({"filter_size": 1}, (4,)),
    "two channels": ({"in_channels": 2}, (7,)),
    "2D": ({"dim": 2}, (4, 5)),
    "2D, stride 2": ({"dim": 2, "filter_size": 2, "stride": 2, "activation": "tanh"}, (8, 16)),
    "2D, zero outside, two channels": ({"dim": 2, "outside": "zero", "in_channels": 2, "activation": "swish"}, (4, 3)),
}


def networks(number: int, **options: Any) -> list[SimpleCNN]:
    made = [
        load_model("poolscope:simplecnn", seed=seed, **{"channels": CHANNELS, "depth": DEPTH, **options}).double()
        for seed in range(number)
    ]
    return [each for each in made if isinstance(each, SimpleCNN)]


def data(number: int, size: tuple[int, ...], channels: int = 1) -> tuple[Tensor, Tensor]:
    """Images ``[steps, networks, images, channels, *size]`` and signs."""
    images = torch.randn(STEPS, number, BATCH, channels, *size, generator=seeded(5), dtype=torch.float64)
    return images, torch.randn(STEPS, number, BATCH, generator=seeded(6), dtype=torch.float64).sign()


def flat(images: Tensor, dim: int) -> Tensor:
    """As a stack wants them: pixels in one axis, channels last."""
    return images.flatten(-dim).transpose(-1, -2)


def trained_alone(model: SimpleCNN, images: Tensor, signs: Tensor, bias_lr: float = LR) -> list[float]:
    """SGD as section 4.3 and the published code have it; return the hinge losses before each step."""
    rest = [parameter for name, parameter in model.named_parameters() if name != "readout_bias"]
    optimizer = torch.optim.SGD([{"params": rest, "lr": LR}, {"params": [model.readout_bias], "lr": bias_lr}])
    losses = []
    for batch, y in zip(images, signs, strict=True):
        hinge = torch.relu(1 - y * model(batch)[:, 0]).mean()
        penalty = sum(layer.weight.square().sum() for layer in model.layers)
        optimizer.zero_grad()
        (hinge + RIDGE / (len(model.readout) * len(model.layers)) * penalty).backward()
        optimizer.step()
        losses.append(float(hinge.detach()))
    return losses


def compare(stack: Stack, expected: list[SimpleCNN]) -> None:
    for number, model in enumerate(expected):
        written = networks(1, **options_of(model))[0]
        stack.write_to(written, number)
        for (name, one), other in zip(written.named_parameters(), model.parameters(), strict=True):
            # some hundred sums and products of numbers of order 1 to 10 in float64, four times
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11, msg=lambda text, n=name: f"{n}: {text}")


def options_of(model: SimpleCNN) -> dict[str, Any]:
    """What decides the shapes of its weights."""
    layer = model.layers[0]
    return {
        "dim": model.dim, "in_channels": model.in_channels, "depth": len(model.layers), "channels": len(layer.weight),
        "filter_size": layer.weight.shape[2], "bias": layer.bias is not None,
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_steps_are_those_of_autograd(case: str) -> None:
    options, size = CASES[case]
    models = networks(3, **options)
    before = [[parameter.clone() for parameter in model.parameters()] for model in models]
    images, signs = data(3, size, options.get("in_channels", 1))
    stack = Stack(models, size)
    assert len(stack) == 3
    losses = []
    for batch, y in zip(flat(images, len(size)), signs, strict=True):
        losses.append(stack.step(batch, y, lr=LR, ridge=RIDGE))
        assert losses[-1].dtype == torch.float64
    for values, model in zip(before, models, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(values, model.parameters(), strict=True)), (
            "it has copies of its own"
        )
    expected = [trained_alone(model, images[:, number], signs[:, number]) for number, model in enumerate(models)]
    torch.testing.assert_close(torch.stack(losses).T, torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=0)
    compare(stack, models)
    moved = torch.tensor(
        [
            [float((value - now).detach().abs().max()) for value, now in zip(values, model.parameters(), strict=True)]
            for values, model in zip(before, models, strict=True)
        ]
    )
    assert (moved.amax(0) > 1e-3).all(), "or nothing is shown of some weights"


@pytest.mark.parametrize("case", ["relu", "stride 3 centred, zero outside", "2D, zero outside, two channels"])
def test_outputs_are_those_of_the_networks(case: str) -> None:
    options, size = CASES[case]
    models = networks(2, **options)
    images = data(2, size, options.get("in_channels", 1))[0][0]
    stack = Stack(models, size)
    for count in (BATCH, 2, BATCH):  # memory is kept from one to the next
        found = stack.outputs(flat(images[:, :count], len(size)))
        expected = torch.stack([model(images[number, :count])[:, 0] for number, model in enumerate(models)])
        torch.testing.assert_close(found, expected.detach(), rtol=1e-12, atol=1e-13)


def test_judging_between_steps_changes_nothing() -> None:
    models, (images, signs) = networks(2), data(2, (7,))
    one, other = Stack(models, (7,)), Stack(models, (7,))
    for batch, y in zip(flat(images, 1), signs, strict=True):
        one.step(batch, y, lr=LR, ridge=RIDGE)
        other.step(batch, y, lr=LR, ridge=RIDGE)
        other.outputs(torch.randn(2, 11, 7, 1, generator=seeded(9), dtype=torch.float64))
    assert all(torch.equal(a, b) for a, b in zip(one.tensors, other.tensors, strict=True))


def test_the_last_bias_can_have_a_learning_rate_of_its_own() -> None:
    models, (images, signs) = networks(2), data(2, (7,))
    stack = Stack(models, (7,))
    for batch, y in zip(flat(images, 1), signs, strict=True):
        stack.step(batch, y, lr=LR, ridge=RIDGE, bias_lr=LR / 7)
    for number, model in enumerate(models):
        trained_alone(model, images[:, number], signs[:, number], bias_lr=LR / 7)
    compare(stack, models)


def test_ridge_without_hinge_shrinks_filters_alone() -> None:
    model, (images, _) = networks(1)[0], data(1, (7,))
    with torch.no_grad():
        model.readout_bias.fill_(1e6)  # every margin is met
    stack = Stack([model], (7,))
    ones = torch.ones(1, BATCH, dtype=torch.float64)
    assert stack.step(flat(images[0], 1), ones, lr=LR, ridge=RIDGE).tolist() == [0.0]
    after = networks(1)[0]
    stack.write_to(after, 0)
    for (name, one), other in zip(after.named_parameters(), model.parameters(), strict=True):
        if name.endswith(".weight"):
            torch.testing.assert_close(one, other * (1 - 2 * LR * RIDGE / (CHANNELS * DEPTH)), rtol=1e-14, atol=0)
        else:
            assert torch.equal(one, other), name


def test_a_margin_that_is_just_met_moves_nothing() -> None:
    model = networks(1, bias=False)[0]
    with torch.no_grad():
        model.readout.zero_()
        model.readout_bias.fill_(1.0)
    stack = Stack([model], (7,))
    images, ones = torch.ones(1, 2, 7, 1, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    assert stack.step(images, ones, lr=LR, ridge=0.0).tolist() == [0.0]
    after = networks(1, bias=False)[0]
    stack.write_to(after, 0)
    assert all(torch.equal(a, b) for a, b in zip(after.parameters(), model.parameters(), strict=True))


def test_those_kept_go_on_as_if_alone() -> None:
    models, (images, signs) = networks(4), data(4, (7,))
    stack = Stack(models, (7,))
    for step, kept in enumerate(([0, 1, 2, 3], [0, 1, 3], [1, 3], [3])):
        if step:
            before = [0, 1, 2, 3] if step == 1 else [0, 1, 3] if step == 2 else [1, 3]
            stack.only([before.index(number) for number in kept])
        assert len(stack) == len(kept)
        stack.step(flat(images[step, kept], 1), signs[step, kept], lr=LR, ridge=RIDGE)
        assert all(len(tensor) == len(kept) for tensor in stack.tensors)
    trained_alone(models[3], images[:, 3], signs[:, 3])
    compare(stack, [models[3]])
    stack.only([])
    assert len(stack) == 0


def test_a_stack_can_be_filled_from_the_tensors_of_another() -> None:
    """As a checkpoint does."""
    models, (images, signs) = networks(2), data(2, (7,))
    stack, other = Stack(models, (7,)), Stack(networks(4)[2:], (7,))
    stack.step(flat(images[0], 1), signs[0], lr=LR, ridge=RIDGE)
    for one, value in zip(other.tensors, stack.tensors, strict=True):
        one.copy_(value)
    assert len(stack.tensors) == 2 * DEPTH + 2
    for each in (stack, other):
        each.step(flat(images[1], 1), signs[1], lr=LR, ridge=RIDGE)
    assert all(torch.equal(a, b) for a, b in zip(stack.tensors, other.tensors, strict=True))


@pytest.mark.parametrize(
    "options",
    [
        {"channels": 6},
        {"depth": 2},
        {"filter_size": 5},
        {"stride": 3},
        {"outside": "zero"},
        {"activation": "tanh"},
        {"activation": "swish", "beta": 2.0},
        {"bias": False},
        {"in_channels": 2},
        {"dim": 2},
    ],
    ids=str,
)
def test_networks_that_differ_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match=r"made alike but for their weights; got Sequential.* and Sequential"
    ) as caught:
        Stack([*networks(1), *networks(1, **options)], (27,))
    assert "\n" not in str(caught.value)


def test_other_windows_are_another_network() -> None:
    strided = {"stride": 3, "alignment": "patches"}
    with pytest.raises(ValueError, match="made alike"):
        Stack([*networks(1, **strided), *networks(1, **{**strided, "alignment": "centred"})], (27,))


def test_what_cannot_be_stacked_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one network to train; got none"):
        Stack([], (7,))
    with pytest.raises(ValueError, match="needs networks of one output; got 2"):
        Stack(networks(2, num_classes=2), (7,))
    with pytest.raises(ValueError, match="got GELU"):
        Stack(networks(1, activation="gelu"), (7,))
    with pytest.raises(ValueError, match="multiples of its stride 2"):
        Stack(networks(1, filter_size=2, stride=2), (12,))


def test_not_a_number_is_lost_nowhere() -> None:
    """A network that has diverged says so, and the others do not notice."""
    models, (images, signs) = networks(2), data(2, (7,))
    with torch.no_grad():
        models[0].layers[1].weight[0, 0, 0] = math.inf
        models[0].layers[1].weight[0, 1, 0] = -math.inf
    stack = Stack(models, (7,))
    losses = stack.step(flat(images[0], 1), signs[0], lr=LR, ridge=RIDGE)
    assert math.isnan(losses[0])
    trained_alone(models[1], images[:1, 1], signs[:1, 1])
    stack.only([1])
    compare(stack, [models[1]])
