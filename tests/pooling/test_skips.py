"""Identity skips: those of known networks by name, and small blocks written in every way that adds two tensors."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import poolscope as ps
from helpers import seeded
from poolscope.networks import load_model
from poolscope.pooling.skips import identity_skips
from poolscope.probe import select, survey


def skips(model: nn.Module, size: int = 16, layers: str | Sequence[str] = "all") -> dict[str, list[str]]:
    model.eval()
    images = torch.randn(2, 3, size, size, generator=seeded(1))
    with torch.no_grad():
        measured = select(survey(model, images), layers)
    return identity_skips(model, images[:1], measured)


def added_in(model: nn.Module, size: int = 16) -> set[str]:
    return {name for names in skips(model, size).values() for name in names}


def residual(names: Callable[[Any, Any], bool], *kinds: str) -> Callable[[nn.Module], set[str]]:
    """Return a rule: the modules of a class whose own attribute says that they add their input."""
    return lambda model: {
        name for name, part in model.named_modules() if type(part).__name__ in kinds and names(name, part)
    }


NOTHING: Callable[[nn.Module], set[str]] = lambda model: set()  # noqa: E731

KNOWN: list[tuple[str, int, Callable[[nn.Module], set[str]]]] = [
    ("torchvision:resnet18", 32, lambda model: {"layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"}),
    (
        "torchvision:resnet50",
        32,
        residual(lambda name, part: part.downsample is None, "Bottleneck"),
    ),
    ("torchvision:vgg11_bn", 32, NOTHING),
    ("torchvision:densenet121", 32, NOTHING),
    ("torchvision:googlenet", 32, NOTHING),
    ("torchvision:shufflenet_v2_x0_5", 32, NOTHING),
    ("torchvision:mobilenet_v2", 32, residual(lambda name, part: part.use_res_connect, "InvertedResidual")),
    ("torchvision:mobilenet_v3_small", 32, residual(lambda name, part: part.use_res_connect, "InvertedResidual")),
    ("torchvision:efficientnet_b0", 32, residual(lambda name, part: part.use_res_connect, "MBConv")),
    ("torchvision:convnext_tiny", 32, residual(lambda name, part: True, "CNBlock")),
    ("torchvision:swin_t", 64, residual(lambda name, part: True, "SwinTransformerBlock")),
    ("timm:convnext_atto", 32, residual(lambda name, part: True, "ConvNeXtBlock")),
    ("timm:vit_tiny_patch16_224", 224, residual(lambda name, part: True, "Block")),
    ("timm:resnet26d", 32, residual(lambda name, part: part.downsample is None, "Bottleneck")),
    ("timm:nf_regnet_b0", 32, residual(lambda name, part: part.downsample is None, "NormFreeBlock")),
]


@pytest.mark.parametrize(("name", "size", "expected"), KNOWN, ids=[name for name, _, _ in KNOWN])
def test_networks_of_the_libraries(name: str, size: int, expected: Callable[[nn.Module], set[str]]) -> None:
    with torch.device("meta"):  # no time spent on drawing weights
        model = load_model(name)
    model = model.to_empty(device="cpu")
    generator = seeded(0)
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            tensor.data.copy_(torch.rand(tensor.shape, generator=generator) / max(1, tensor[:1].numel()))
    rebuilt = [module for module in model.modules() if hasattr(module, "define_relative_position_index")]
    for module in rebuilt:
        module.define_relative_position_index()  # integers, which an empty tensor has lost
    wanted = expected(model)
    assert added_in(model, size) == wanted
    if expected is not NOTHING:
        assert wanted


class Block(nn.Module):
    """x into a sum of x and a convolution of it, the way ``add`` says."""

    def __init__(self, add: Callable[["Block", Tensor], Tensor]):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.other = nn.Conv2d(3, 3, 1)
        self.wide = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(3, 3, 3, padding=1, groups=3)
        self.up = nn.ConvTranspose2d(3, 3, 3, padding=1)
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.shift = nn.Parameter(torch.ones(1, 3, 16, 16))
        self.add = add

    def forward(self, x: Tensor) -> Tensor:
        return self.add(self, x)


def in_place_sum(block: Block, x: Tensor) -> Tensor:
    y = block.conv(x)
    y += x
    return y


def relu_in_place_first(block: Block, x: Tensor) -> Tensor:
    x = F.relu_(x)
    return x + F.relu_(block.conv(x))


def relu_in_place_between(block: Block, x: Tensor) -> Tensor:
    y = block.conv(x)
    return x.relu_() + y


def written_into(block: Block, x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, :2] = block.conv(x)[:, 1:]
    return y + x


def padded(block: Block, x: Tensor) -> Tensor:
    """The shortcut of the first CIFAR ResNets: subsampled, new channels zero."""
    return block.wide(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 2))


def of_tokens(block: Block, x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return tokens + block.linear(tokens)


def attention(block: Block, x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return tokens + F.scaled_dot_product_attention(tokens, tokens, tokens)


def three_terms(block: Block, x: Tensor) -> Tensor:
    return block.conv(x) + block.other(x) + x


def long_way(block: Block, x: Tensor) -> Tensor:
    y = x
    for _ in range(3):
        y = F.relu(block.conv(block.norm(y)))
    return torch.cat([y, y], dim=1)[:, :3] + x


SKIPS: dict[str, Callable[[Block, Tensor], Tensor]] = {
    "plus": lambda b, x: x + b.conv(x),
    "plus, the other way round": lambda b, x: b.conv(x) + x,
    "in place": in_place_sum,
    "add_": lambda b, x: b.conv(x).add_(x),
    "torch.add": lambda b, x: torch.add(b.conv(x), x, alpha=2),
    "torch.add by keyword": lambda b, x: torch.add(input=x, other=b.conv(x)),
    "method": lambda b, x: x.add(b.conv(x)),
    "minus": lambda b, x: x - b.conv(x),
    "torch.sub": lambda b, x: torch.sub(b.conv(x), x),
    "torch.subtract": lambda b, x: torch.subtract(b.conv(x), x),
    "sub_": lambda b, x: b.conv(x).sub_(x),
    "sum of a list": lambda b, x: sum([x, b.conv(x)]),  # type: ignore[arg-type, return-value]
    "ReLU in place before": relu_in_place_first,
    "ReLU in place on the way of x": relu_in_place_between,
    "scaled": lambda b, x: 0.5 * x + b.shift * b.conv(x),
    "normalised": lambda b, x: b.norm(x) + b.conv(x),
    "depthwise": lambda b, x: x + b.depthwise(x),
    "transposed": lambda b, x: x + b.up(x),
    "tokens": of_tokens,
    "attention": attention,
    "pooled": lambda b, x: F.avg_pool2d(x, 2) + b.wide(x)[:, :3],
    "padded": padded,
    "concatenated on the way": long_way,
    "written into a tensor": written_into,
    "three terms": three_terms,
    "dropout": lambda b, x: x + F.dropout(b.conv(x), 0.5, False),
    "two of them": lambda b, x: b.conv(b.conv(x) + x) + (b.conv(x) + x),
    "around another": lambda b, x: x + (x + b.conv(x)),
}


def by_hand_normalised(block: Block, x: Tensor) -> Tensor:
    """Layer norm over channels by hand, after a convolution: sums of a map and its own mean."""
    y = block.conv(x)
    centred = y - y.mean(dim=1, keepdim=True)
    return centred / (centred.pow(2).mean(dim=1, keepdim=True) + 1e-6).sqrt()


def masked_attention(block: Block, x: Tensor) -> Tensor:
    tokens = block.linear(x.flatten(2).transpose(1, 2))
    scores = tokens @ tokens.transpose(1, 2)
    return (scores + x.new_zeros(scores.shape)).softmax(dim=-1) @ tokens


OTHERS: dict[str, Callable[[Block, Tensor], Tensor]] = {
    "convolved shortcut": lambda b, x: b.conv(x) + b.other(x),
    "two branches": lambda b, x: F.relu(b.norm(b.other(x))) + b.conv(b.conv(x)),
    "bias": lambda b, x: b.conv(x) + b.shift,
    "number": lambda b, x: b.conv(x) + 1,
    "no convolution": lambda b, x: b.conv(x + torch.tanh(x)),
    "itself": lambda b, x: b.conv(x + x),
    "product": lambda b, x: x * b.conv(x),
    "concatenation": lambda b, x: b.wide(torch.cat([x, b.conv(x)], dim=2)),
    "broadcast": lambda b, x: b.conv(x) + x.mean(dim=(2, 3), keepdim=True),
    "normalised by hand": by_hand_normalised,
    "mask shaped like x": masked_attention,
    "two halves of a ReLU": lambda b, x: F.relu(b.conv(x)) - 0.1 * F.relu(-b.conv(x)),
}


@pytest.mark.parametrize("add", SKIPS.values(), ids=SKIPS)
def test_sums_that_are_skips(add: Callable[[Block, Tensor], Tensor]) -> None:
    assert added_in(nn.Sequential(nn.Conv2d(3, 3, 1), Block(add), nn.Flatten())) == {"1"}


@pytest.mark.parametrize("add", OTHERS.values(), ids=OTHERS)
def test_sums_that_are_not(add: Callable[[Block, Tensor], Tensor]) -> None:
    assert added_in(nn.Sequential(nn.Conv2d(3, 3, 1), Block(add), nn.Flatten())) == set()


def test_a_nonlinearity_by_hand_after_a_skip_is_no_second_one() -> None:
    """After y = x + F(x), sums of functions of y meet y's own channels; the cubic of a GELU written out is one."""

    class After(nn.Module):
        def forward(self, y: Tensor) -> Tensor:
            y = F.relu(y) - 0.1 * F.relu(-y)
            return 0.5 * y * (1 + torch.tanh(0.8 * (y + 0.044715 * y.pow(3))))

    model = nn.Sequential(nn.Conv2d(3, 3, 1), Block(SKIPS["plus"]), After(), nn.Flatten())
    assert added_in(model) == {"1"}


def test_a_skip_in_the_models_own_forward_goes_by_its_class() -> None:
    assert skips(Block(SKIPS["plus"]))["output"] == ["Block"]


def test_each_skip_is_told_at_the_next_measured_layer() -> None:
    def block() -> nn.Module:
        return nn.Sequential(Block(SKIPS["plus"]), nn.ReLU())

    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), block(), block(), block())
    assert skips(model, layers="activations") == {"2.1": ["2.0"], "3.1": ["3.0"], "4.1": ["4.0"]}
    assert skips(model, layers=["1", "3.1"]) == {"3.1": ["2.0", "3.0"]}
    assert skips(model, layers=["1", "3.1", "output"]) == {"3.1": ["2.0", "3.0"], "output": ["4.0"]}
    assert skips(model, layers=["1"]) == {}


def test_a_network_with_two_outputs_tells_it_at_the_first() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = x + self.conv(x)
            return y, y.mean(dim=(2, 3))

    assert skips(Two()) == {"output[0]": ["Two"]}


def test_the_model_and_the_images_come_back_as_they_were() -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), Block(SKIPS["plus"])).eval()
    images = torch.randn(2, 3, 16, 16, generator=seeded(1))
    kept = images.clone()
    measured = select(survey(model, images), "all")
    assert identity_skips(model, images, measured) != {}
    assert torch.equal(images, kept)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    with pytest.raises(RuntimeError):
        identity_skips(model, images[:, :2], measured)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_table_names_them() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), Block(SKIPS["plus"]), nn.ReLU()).eval()
    images = torch.randn(8, 3, 16, 16, generator=seeded(1))
    table = ps.pooling_share(model, images, displacement=0.5, cutoff=2, draws=2, progress=False).set_index("layer")
    assert "skip added unshuffled in 2" in table.loc["3", "note"]
    assert "skip" not in table.loc["1", "note"]
