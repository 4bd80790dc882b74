"""Channel shuffling against networks that permute activations before each convolution, channel by channel, in loops."""

import copy
import inspect
import io
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import poolscope as ps
from helpers import seeded
from poolscope._torchvision import import_timm
from poolscope.networks import load_model
from poolscope.pooling import ShuffleMode, shuffle_channels
from poolscope.pooling.recalibrate import recalibrate
from poolscope.pooling.shuffling import shuffled

MODES = ["independent", "shared", "published"]


def random_weights(model: nn.Module, seed: int = 0) -> nn.Module:
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model.double().eval()


def answers(conv: Any) -> Tensor:
    """What each output channel [out] makes of an impulse in each input channel [in], without its bias."""
    found = []
    for channel in range(conv.in_channels):
        impulse = torch.zeros(1, conv.in_channels, *[9] * len(conv.kernel_size), dtype=torch.float64)
        impulse[(0, channel, *[4] * len(conv.kernel_size))] = 1
        found.append((conv(impulse) - conv(torch.zeros_like(impulse)))[0])
    return torch.stack(found, dim=1).detach()


def reads(conv: Any, shuffled_conv: Any) -> list[list[int]]:
    """For every output channel: the input channel that each of its filters reads now, in the filters' old order.

    Found from outside: from which filter answers an impulse in which channel.
    """
    before, after = answers(conv), answers(shuffled_conv)
    in_group, out_group = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    found = []
    for output in range(conv.out_channels):
        first = output // out_group * in_group
        row = []
        for old in range(first, first + in_group):
            # impulses give single products of weights, so equal filters answer alike to the last bit
            (new,) = [c for c in range(conv.in_channels) if torch.equal(after[output, c], before[output, old])]
            row.append(new)
        found.append(row)
    return found


def explicit(conv: Any, reading: list[list[int]], x: Tensor) -> Tensor:
    """Each output channel by itself, from its own filters and activations that were put in its own order."""
    in_group, out_group = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    options = {
        name: getattr(conv, name)
        for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode", "output_padding")
        if name != "output_padding" or conv.transposed
    }
    outputs = []
    for output in range(conv.out_channels):
        single = type(conv)(in_group, 1, **options, bias=conv.bias is not None, dtype=x.dtype)
        group, within = divmod(output, out_group)
        with torch.no_grad():
            if conv.transposed:
                single.weight.copy_(conv.weight[group * in_group : (group + 1) * in_group, within : within + 1])
            else:
                single.weight.copy_(conv.weight[output : output + 1])
            if conv.bias is not None:
                single.bias.copy_(conv.bias[output : output + 1])
            outputs.append(single(x[:, reading[output]]))
    return torch.cat(outputs, dim=1)


CASES: dict[str, Callable[[], nn.Module]] = {
    "dense": lambda: nn.Conv2d(5, 4, 3),
    "dense 1D": lambda: nn.Conv1d(5, 4, 3),
    "dense 3D": lambda: nn.Conv3d(3, 2, (1, 2, 3), bias=False),
    "1x1": lambda: nn.Conv2d(6, 3, 1),
    "dilated, strided, circular": lambda: nn.Conv2d(
        4, 3, 3, stride=2, padding=(2, 1), dilation=(2, 1), padding_mode="circular"
    ),
    "reflecting, oblong": lambda: nn.Conv2d(4, 3, (1, 5), padding=(0, 2), padding_mode="reflect"),
    "padding by name": lambda: nn.Conv2d(4, 3, 5, padding="same"),
    "grouped": lambda: nn.Conv2d(6, 4, 3, groups=2, padding=1),
    "grouped 1D": lambda: nn.Conv1d(9, 6, 3, groups=3),
    "depthwise": lambda: nn.Conv2d(6, 6, 3, groups=6),
    "depthwise, two outputs a channel": lambda: nn.Conv2d(4, 8, 3, groups=4, stride=2, bias=False),
    "transposed": lambda: nn.ConvTranspose2d(5, 4, 3, stride=2, padding=1, output_padding=1),
    "transposed 1D": lambda: nn.ConvTranspose1d(4, 3, 2, dilation=2),
    "transposed, grouped": lambda: nn.ConvTranspose2d(6, 4, (2, 3), groups=2),
    "transposed 1D, grouped": lambda: nn.ConvTranspose1d(9, 6, 3, groups=3, bias=False),
    "transposed, depthwise": lambda: nn.ConvTranspose2d(4, 4, 2, groups=4),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_permuted_weights_do_what_permuted_activations_do(make: Callable[[], nn.Module], mode: str) -> None:
    conv: Any = random_weights(make())
    after: Any = shuffle_channels(conv, generator=seeded(3), mode=mode)
    reading = reads(conv, after)
    x = torch.randn(2, conv.in_channels, *[9] * len(conv.kernel_size), generator=seeded(1), dtype=torch.float64)
    # sums of at most 54 products of standard normals, in another order
    torch.testing.assert_close(after(x), explicit(conv, reading, x), rtol=0, atol=1e-13)
    identity = reads(conv, conv)
    torch.testing.assert_close(conv(x), explicit(conv, identity, x), rtol=0, atol=1e-13)
    for row in reading:
        assert len(set(row)) == len(row)
    out_group = conv.out_channels // conv.groups
    groups = [reading[start : start + out_group] for start in range(0, conv.out_channels, out_group)]
    for group in groups:  # outputs of a group read the same channels, and groups share none
        assert len({frozenset(row) for row in group}) == 1
    assert sorted(itertools.chain(*[group[0] for group in groups])) == list(range(conv.in_channels))
    if mode != "independent":
        assert all(row == group[0] for group in groups for row in group)
    elif conv.in_channels // conv.groups >= 3:
        assert any(row != group[0] for group in groups for row in group)
    if mode == "published":  # within groups, alike in all
        size = conv.in_channels // conv.groups
        assert all(
            group[0] == [number * size + new for new in groups[0][0]] for number, group in enumerate(groups)
        )
    if mode != "published" or conv.in_channels > conv.groups:
        assert reading != identity


class Mixed(nn.Module):
    """Dense, strided, grouped, depthwise and transposed convolutions, batch norm, a skip, one that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.grouped = nn.Conv2d(4, 4, 3, groups=2, padding=1, padding_mode="circular")
        self.twice = nn.Conv2d(4, 4, 3, padding=1)
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4, padding=1)
        self.down = nn.Conv2d(4, 4, 2, stride=2)
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.norm(self.stem(x)))
        x = x + self.twice(torch.tanh(self.grouped(x)))
        x = F.relu(self.twice(input=x))
        x = self.up(F.relu(self.down(self.depthwise(input=x))))
        return self.head(x.mean(dim=(2, 3)))


class Explicit(nn.Module):
    """A convolution that orders activations, in the place of one whose weights are ordered."""

    def __init__(self, conv: Any, reading: list[list[int]]):
        super().__init__()
        self.conv, self.reading = conv, reading

    def forward(self, input: Tensor) -> Tensor:
        return explicit(self.conv, self.reading, input)


CONVOLUTIONS = ["stem", "grouped", "twice", "depthwise", "down", "up"]


@pytest.mark.parametrize("mode", MODES)
def test_a_whole_network_in_both_ways(mode: str) -> None:
    model = random_weights(Mixed())
    model.norm.running_mean.add_(0.5)
    after = shuffle_channels(model, generator=seeded(5), mode=mode)
    slow = copy.deepcopy(model)
    for name in CONVOLUTIONS:
        conv = getattr(model, name)
        setattr(slow, name, Explicit(conv, reads(conv, getattr(after, name))))
    x = torch.randn(3, 3, 8, 8, generator=seeded(1), dtype=torch.float64)
    scale = model(x).abs().max().item()
    torch.testing.assert_close(after(x), slow(x), rtol=0, atol=1e-12 * scale)
    assert (after(x) - model(x)).abs().max().item() > 1e-3 * scale


def test_equal_filters_across_channels_make_shuffling_invisible() -> None:
    model = random_weights(
        nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 3, stride=2), nn.ReLU(),
            nn.ConvTranspose2d(5, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3),
        )
    )  # fmt: skip
    with torch.no_grad():
        for conv in (model[0], model[3], model[7]):
            conv.weight.copy_(conv.weight[:, :1].expand_as(conv.weight).clone())
        model[5].weight.copy_(model[5].weight[:1].expand_as(model[5].weight).clone())
    x = torch.randn(2, 3, 16, 16, generator=seeded(1), dtype=torch.float64)
    for mode in MODES:
        assert torch.equal(shuffle_channels(model, generator=seeded(2), mode=mode)(x), model(x))
    with torch.no_grad():  # it can fail: one filter of one output is another
        model[3].weight[0, 0] += 1
    assert not torch.equal(shuffle_channels(model, generator=seeded(2))(x), model(x))


def test_published_variant_permutes_each_weight_by_one_order() -> None:
    """``w[:, randperm]`` of every convolution: RGB and 1x1 included, depthwise and linear weights without effect."""
    model = random_weights(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 6, 3, groups=2),
            nn.Flatten(), nn.Linear(6, 2),
        )
    )  # fmt: skip
    seen = set()
    for seed in range(20):
        after, left = shuffled(model, seeded(seed), "published", "all", True)
        for number in (0, 1, 3):
            weight = model[number].weight
            orders = [
                order
                for order in itertools.permutations(range(weight.shape[1]))
                if torch.equal(after[number].weight, weight[:, list(order)])
            ]
            assert len(orders) == 1
            seen.add((number, orders[0]))
        assert torch.equal(after[2].weight, model[2].weight)
        assert torch.equal(after[5].weight, model[5].weight)
        assert left == {"2": "one input channel in each group"}
        assert not any(module._forward_pre_hooks for module in after.modules())
    assert sum(number == 0 for number, _ in seen) == 6  # all orders of RGB turn up
    assert sum(number == 1 for number, _ in seen) > 10


def test_published_second_variant_permutes_outputs_without_their_bias_and_norm() -> None:
    model = random_weights(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3)))
    model[1].running_mean.copy_(torch.randn(4, generator=seeded(4)))
    after = shuffle_channels(model, generator=seeded(6), mode="published-outputs")
    for number in (0, 3):
        weight = model[number].weight
        outputs, inputs = weight.shape[:2]
        found = [
            (rows, columns)
            for rows in itertools.permutations(range(outputs))
            for columns in itertools.permutations(range(inputs))
            if torch.equal(after[number].weight, weight[list(rows)][:, list(columns)])
        ]
        assert len(found) == 1
        assert found[0] != (tuple(range(outputs)), tuple(range(inputs)))
    moved = {name for name, value in after.state_dict().items() if not torch.equal(value, model.state_dict()[name])}
    assert moved == {"0.weight", "3.weight"}
    one_channel = random_weights(nn.Conv2d(1, 8, 3))
    after = shuffle_channels(one_channel, generator=seeded(6), mode="published-outputs")
    assert not torch.equal(after.weight, one_channel.weight)
    assert sorted(after.weight.flatten().tolist()) == sorted(one_channel.weight.flatten().tolist())


def chi_square(counts: Sequence[int], cells: int) -> float:
    total = sum(counts)
    assert total / cells > 30, "too few draws to judge"
    missing = cells - len(counts)
    return sum((count - total / cells) ** 2 for count in [*counts, *[0] * missing]) / (total / cells)


# quantiles of chi-square at 1 - 1e-5: 5 and 35 degrees of freedom
FIVE, THIRTY_FIVE = 30.9, 83.0


def order_of(weight: Tensor) -> tuple[int, ...]:
    return tuple(int(value) for value in weight.flatten())


def tally(found: Sequence[Any]) -> list[int]:
    return [found.count(one) for one in set(found)]


def test_independent_orders_are_uniform_and_independent() -> None:
    conv = nn.Conv2d(3, 64, 1, bias=False)
    model = nn.Sequential(conv, nn.Conv2d(64, 3, 1), nn.Conv2d(3, 1, 1))
    with torch.no_grad():
        for part in (conv, model[2]):
            part.weight.copy_(torch.arange(3.0).view(1, 3, 1, 1).expand_as(part.weight))
    generator = seeded(0)
    within, across = [], []
    for _ in range(60):
        after = shuffle_channels(model, generator=generator)
        orders = [order_of(row) for row in after[0].weight]
        within += orders
        across += list(zip(orders[::2], orders[1::2], strict=True))
    assert chi_square(tally(within), 6) < FIVE
    assert chi_square(tally(across), 36) < THIRTY_FIVE


@pytest.mark.parametrize("mode", ["shared", "published"])
def test_common_orders_are_uniform_and_independent_between_layers(mode: str) -> None:
    model = nn.Sequential(nn.Conv1d(3, 3, 1), nn.Conv1d(3, 2, 1))
    with torch.no_grad():
        for part in model:
            part.weight.copy_(torch.arange(3.0).view(1, 3, 1).expand_as(part.weight))
    generator = seeded(0)
    pairs = []
    for _ in range(1200):
        after = shuffle_channels(model, generator=generator, mode=mode)
        rows = [{order_of(row) for row in part.weight} for part in after]
        assert [len(row) for row in rows] == [1, 1]
        pairs.append((rows[0].pop(), rows[1].pop()))
    assert chi_square(tally([first for first, _ in pairs]), 6) < FIVE
    assert chi_square(tally(pairs), 36) < THIRTY_FIVE


@pytest.mark.parametrize("mode", ["independent", "shared"])
def test_depthwise_orders_are_uniform(mode: str) -> None:
    conv = nn.Conv1d(3, 3, 1, groups=3, bias=False)
    nn.init.ones_(conv.weight)
    generator, channels = seeded(0), torch.arange(3.0).view(1, 3, 1)
    orders = [order_of(shuffle_channels(conv, generator=generator, mode=mode)(channels)) for _ in range(600)]
    assert chi_square(tally(orders), 6) < FIVE


def same(a: nn.Module, b: nn.Module, x: Tensor) -> bool:
    return torch.equal(a(x), b(x))


@pytest.mark.parametrize("mode", [*MODES, "published-outputs"])
def test_one_seed_one_copy_and_nothing_else_is_touched(mode: str) -> None:
    model = random_weights(Mixed())
    model.train()
    model.norm.eval()
    x = torch.randn(2, 3, 8, 8, generator=seeded(1), dtype=torch.float64)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    ids = [id(tensor) for tensor in [*model.parameters(), *model.buffers()]]
    flags = [module.training for module in model.modules()]
    before = torch.get_rng_state()
    one, two, other = (shuffle_channels(model, generator=seeded(seed), mode=mode) for seed in (7, 7, 8))
    assert torch.equal(before, torch.get_rng_state())
    assert [id(tensor) for tensor in [*model.parameters(), *model.buffers()]] == ids
    assert list(model.state_dict()) == list(state) == list(one.state_dict())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == flags == [module.training for module in one.modules()]
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    assert same(one, two, x)
    assert not same(one, other, x)


def changed(model: nn.Module, after: nn.Module) -> set[str]:
    """Names of the convolutions that answer another way."""
    pairs = {name: (answers(getattr(model, name)), answers(getattr(after, name))) for name in CONVOLUTIONS}
    return {name for name, (one, other) in pairs.items() if not torch.equal(one, other)}


def test_all_named_and_only_layer_k() -> None:
    model = random_weights(Mixed())

    def of(**options: Any) -> set[str]:
        return changed(model, shuffle_channels(model, generator=seeded(3), **options))

    assert of() == set(CONVOLUTIONS)
    assert of(image_channels=False) == set(CONVOLUTIONS) - {"stem"}
    for name in CONVOLUTIONS:
        assert of(convolutions=[name]) == {name}
        assert of(convolutions=name) == {name}
    assert of(convolutions="up|down") == {"up", "down"}
    assert of(convolutions=["stem", "twice"], image_channels=False) == {"twice"}


def test_what_is_left_as_it_is_is_said() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4))
    assert shuffled(model, seeded(0), "independent", "all", True)[1] == {"0": "one input channel"}
    assert shuffled(model, seeded(0), "published", "all", True)[1] == {
        "0": "one input channel",
        "2": "one input channel in each group",
    }
    assert shuffled(model, seeded(0), "independent", ["2"], False)[1] == {"0": "not chosen", "1": "not chosen"}
    assert shuffled(model, seeded(0), "independent", "all", False)[1] == {"0": "reads the image"}


def test_tied_convolutions_are_shuffled_each_by_itself() -> None:
    model = random_weights(nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)))
    model[1].weight = model[0].weight
    after = shuffle_channels(model, generator=seeded(0), mode="shared")
    assert reads(model[0], after[0]) != reads(model[1], after[1])
    assert torch.equal(model[0].weight, model[1].weight)


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_parametrised_convolutions(norm: Callable[[nn.Module], nn.Module]) -> None:
    model = random_weights(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 3, 3)))
    model = nn.Sequential(norm(model[0]), norm(model[1])).eval()
    x = torch.randn(2, 4, 9, 9, generator=seeded(1), dtype=torch.float64)
    expected = model(x)
    for mode in MODES:
        after = shuffle_channels(model, generator=seeded(3), mode=mode)
        y = x
        for before, part in zip(model, after, strict=True):
            plain = type(part)(4, part.out_channels, 3, groups=part.groups).double()
            plain.load_state_dict({"weight": before.weight, "bias": before.bias})
            y = explicit(plain, reads(plain, part), y)
        torch.testing.assert_close(after(x), y)
        assert not torch.equal(after(x), expected)
        assert torch.equal(model(x), expected)


def test_shuffling_a_shuffled_copy_puts_one_order_after_another() -> None:
    conv: Any = random_weights(nn.Conv2d(8, 8, 3, groups=4))
    once: Any = shuffle_channels(conv, generator=seeded(0), mode="shared")
    twice: Any = shuffle_channels(once, generator=seeded(1), mode="shared")
    alone: Any = shuffle_channels(conv, generator=seeded(1), mode="shared")
    first, second = reads(conv, once), reads(conv, alone)
    where = [channel for row in first[::2] for channel in row]  # slot -> channel that it reads, after the first order
    then = [channel for row in second[::2] for channel in row]
    # slots of the second order read the output of the first, or the reverse: both are a composition of the two
    found = [channel for row in reads(conv, twice)[::2] for channel in row]
    assert found == [where[slot] for slot in then]
    assert len(twice._forward_pre_hooks) == 1
    assert [channel for row in reads(conv, once)[::2] for channel in row] == where  # the first copy is as it was


def test_the_order_of_inputs_goes_where_the_copy_goes() -> None:
    model = random_weights(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4)))
    x = torch.randn(2, 4, 9, 9, generator=seeded(1), dtype=torch.float64)
    after = shuffle_channels(model, generator=seeded(3))
    assert same(copy.deepcopy(after), after, x)
    file = io.BytesIO()
    torch.save(after, file)
    file.seek(0)
    assert same(torch.load(file, weights_only=False), after, x)
    other = shuffle_channels(model, generator=seeded(4))
    expected = after(x)
    assert not torch.equal(other(x), expected)
    fresh = copy.deepcopy(after)
    nn.init.zeros_(fresh[0].weight)
    assert list(after.state_dict()) == list(model.state_dict())
    fresh.load_state_dict(after.state_dict())
    assert same(fresh, after, x)
    assert copy.deepcopy(after).float()(x.float()).dtype == torch.float32
    away = copy.deepcopy(after).to("meta")
    assert away(x.to("meta")).device.type == "meta"
    assert {buffer.device.type for buffer in away.buffers()} == {"meta"}
    assert torch.equal(after(x[0]), expected[0])  # one image without a batch axis
    with_gradient = x.clone().requires_grad_()
    after(with_gradient).sum().backward()
    assert with_gradient.grad is not None


@pytest.mark.gpu
def test_on_a_gpu_the_same_orders() -> None:
    model = random_weights(Mixed())
    x = torch.randn(2, 3, 8, 8, generator=seeded(1), dtype=torch.float64)
    for mode in MODES:
        expected = shuffle_channels(model, generator=seeded(3), mode=mode)(x)
        there = shuffle_channels(copy.deepcopy(model).cuda(), generator=seeded(3), mode=mode)
        torch.testing.assert_close(there(x.cuda()).cpu(), expected, rtol=1e-9, atol=1e-9)
        moved = shuffle_channels(model, generator=seeded(3), mode=mode).cuda()
        torch.testing.assert_close(moved(x.cuda()).cpu(), expected, rtol=1e-9, atol=1e-9)


def test_precision_of_weights_is_kept() -> None:
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        model = Mixed().to(dtype).eval()
        after = shuffle_channels(model, generator=seeded(3))
        assert [p.dtype for p in after.parameters()] == [p.dtype for p in model.parameters()]
        assert sorted(after.down.weight.flatten().tolist()) == sorted(model.down.weight.flatten().tolist())


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")])
def test_wrapped_models(wrap: Callable[[nn.Module], nn.Module]) -> None:
    model = random_weights(Mixed())
    x = torch.randn(2, 3, 8, 8, generator=seeded(1), dtype=torch.float64)
    assert same(shuffle_channels(wrap(model), generator=seeded(3)), shuffle_channels(model, generator=seeded(3)), x)


def test_a_shuffled_copy_is_measured_like_any_model() -> None:
    after = shuffle_channels(Mixed().eval(), generator=seeded(3))
    order = after.grouped.input_order
    images = torch.randn(6, 3, 8, 8, generator=seeded(1))
    result = ps.measure(
        after, images, ps.Diffeomorphism(0.3, 2), batch_size=4, precision="float64", progress=False
    )
    assert bool((result.table["R"] > 0).all())
    assert after.grouped.input_order is order


class UNet(nn.Module):
    """Two scales, a concatenated skip, a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.below = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(inplace=True))
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.leave = nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        high = self.enter(x)
        return self.leave(torch.cat([high, self.up(self.below(high))], dim=1))


def small_bit() -> nn.Module:
    """A small one of timm's pre-activation ResNets with standardised weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return import_timm().models.resnetv2.ResNetV2(layers=(1, 1, 1, 1), channels=(128,) * 4, num_classes=5)


def of_name(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: load_model(name, seed=0, **options)


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (UNet, 16),
        (of_name("torchvision:densenet121"), 32),
        (of_name("torchvision:googlenet", num_classes=5, init_weights=False), 32),
        (of_name("torchvision:inception_v3", num_classes=5, init_weights=False), 75),
        (of_name("torchvision:lraspp_mobilenet_v3_large", num_classes=3), 32),
        pytest.param(of_name("torchvision:fcn_resnet50", num_classes=3), 32, marks=pytest.mark.slow),
        (of_name("timm:resnext26ts", num_classes=5), 32),
        (of_name("timm:mobilenetv3_small_050"), 32),
        (of_name("timm:convnext_atto"), 32),
        (of_name("timm:regnetx_002"), 32),
        (of_name("timm:nf_regnet_b0", num_classes=5), 32),
        (small_bit, 32),
    ],
    ids=[
        "U-Net", "densenet", "googlenet", "inception", "lraspp", "fcn", "resnext", "mobilenet", "convnext", "regnet",
        "nf_regnet", "bit",
    ],
)  # fmt: skip
def test_networks_of_the_libraries(make: Callable[[], nn.Module], size: int) -> None:
    model = make().eval()
    x = torch.randn(2, 3, size, size, generator=seeded(1))
    recalibrate(model, x)  # else the signal dies out in some of those with random weights

    def output(of: nn.Module) -> Tensor:
        with torch.no_grad():
            y = of(x)
        return y["out"] if isinstance(y, dict) else y

    before, state = output(model), {name: value.clone() for name, value in model.state_dict().items()}
    convs = {name: part for name, part in model.named_modules() if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d))}
    modes: list[ShuffleMode] = ["independent", "published"]
    for mode in modes:
        after, left = shuffled(model, seeded(3), mode, "all", True, share=True)
        assert list(after.state_dict()) == list(state)
        for name, conv in convs.items():
            other: Any = after.get_submodule(name)
            assert (other.weight is conv.weight) == (name in left)
            assert hasattr(other, "input_order") == (conv.groups > 1 and mode == "independent")
            # the same filters, output by output, in another order
            axis = (1, 0) if conv.transposed else (0, 1)
            mine, others = (w.movedim(axis, (0, 1)).flatten(1).sort(dim=1)[0] for w in (conv.weight, other.weight))
            assert torch.equal(mine, others)
        rest = set(state) - {f"{name}.weight" for name in convs}
        assert all(torch.equal(value, state[name]) for name, value in after.state_dict().items() if name in rest)
        assert bool(torch.isfinite(output(after)).all())
        assert float((output(after) - before).norm()) > 1e-3 * float(before.norm())
    assert torch.equal(output(model), before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_standardised_weights_are_shuffled_as_they_run() -> None:
    """timm's StdConv2d subtracts each filter bank's mean as it runs; permuted inputs see the same."""
    model = small_bit()
    name = "stages.0.blocks.0.conv2"
    conv: Any = model.get_submodule(name)
    after: Any = shuffle_channels(model, generator=seeded(3), mode="shared", convolutions=[name]).get_submodule(name)
    weight = conv.weight
    matches = (after.weight[0].flatten(1)[:, None] == weight[0].flatten(1)[None]).all(dim=-1)
    order = [int(row.nonzero()) for row in matches]  # which old filter each channel meets now
    x = torch.randn(1, conv.in_channels, 8, 8, generator=seeded(1))
    permuted = torch.empty_like(x)
    permuted[:, order] = x
    # float32 sums of 576 products; outputs are of order 1
    torch.testing.assert_close(after(x), conv(permuted), rtol=0, atol=1e-4)
    assert (after(x) - conv(x)).abs().max().item() > 0.1


def functional_only() -> nn.Module:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 3, 3, 3))

        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(x, self.weight)

    return Functional()


@pytest.mark.parametrize(
    ("model", "options", "kind", "message"),
    [
        (functional_only(), {}, ValueError, r"must have a convolution \(as a module\).*Functional has none"),
        (nn.Linear(2, 2), {}, ValueError, "Linear has none"),
        (Mixed(), {"convolutions": ["stm"]}, ValueError, "'stm' is none of stem"),
        (Mixed(), {"convolutions": "body"}, ValueError, "'body' matches none of stem, grouped"),
        (torch.jit.script(nn.Conv2d(3, 3, 3)), {}, TypeError, "model must be an eager nn.Module"),
        (nn.Sequential(torch.jit.script(nn.Conv2d(3, 3, 3))), {}, TypeError, "must be eager throughout"),
        (nn.LazyConv2d(3, 3), {}, ValueError, "a lazy model must have seen an input"),
        (
            nn.Sequential(nn.utils.spectral_norm(nn.Conv2d(3, 3, 3))),
            {},
            ValueError,
            "must be parameters or parametrised.*got '0' without",
        ),
    ],
)
def test_refusals(model: nn.Module, options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        shuffle_channels(model, generator=seeded(0), **options)


def test_modes_and_generators_that_are_refused() -> None:
    model = Mixed()
    unchecked: Any = inspect.unwrap(shuffled)  # the annotations, checked in tests, refuse them as well
    with pytest.raises(ValueError, match="one of independent, shared, published, published-outputs; got 'x'"):
        unchecked(model, seeded(0), "x", "all", True)
    before = torch.get_rng_state()
    with pytest.raises(TypeError, match=r"generator must be a torch\.Generator.*got NoneType"):
        unchecked(model, None, "shared", "all", True)
    assert torch.equal(before, torch.get_rng_state())


def test_recalibrated_copies_have_statistics_of_their_own_channels() -> None:
    model = random_weights(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3)))
    images = torch.randn(20, 3, 9, 9, generator=seeded(1), dtype=torch.float64)
    images += torch.tensor([3.0, 0, -2]).view(3, 1, 1)
    stale = shuffle_channels(model, generator=seeded(3))
    after = shuffle_channels(model, generator=seeded(3), recalibrate=images)
    assert torch.equal(stale[1].running_mean, model[1].running_mean)
    features = after[0](images)
    torch.testing.assert_close(after[1].running_mean, features.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(after[1].running_var, features.var(dim=(0, 2, 3)))
    assert torch.equal(after[0].weight, stale[0].weight)
