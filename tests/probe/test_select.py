"""Which layers the words, patterns and names pick, on torchvision's models and small ones."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers import seeded
from poolscope._torchvision import import_timm, import_torchvision
from poolscope.probe import select, survey

import_torchvision()
from torchvision import models  # noqa: E402
from torchvision.ops import SqueezeExcitation  # noqa: E402

RELUS_OF_BASIC_BLOCKS = [
    f"layer{stage}.{block}.relu{call}" for stage in (1, 2, 3, 4) for block in (0, 1) for call in ("", "#2")
]


def names(model: nn.Module, layers: object, size: int = 32) -> list[str]:
    images = torch.rand(2, 3, size, size, generator=seeded(0))
    with torch.no_grad():
        return [layer.name for layer in select(survey(model.eval(), images), layers)]


def modules_of(model: nn.Module, *kinds: type[nn.Module]) -> list[str]:
    """Names of all modules of these kinds outside squeeze-and-excitation, in the order they are registered."""
    inside = {
        f"{name}.{child}"
        for name, module in model.named_modules()
        if isinstance(module, SqueezeExcitation)
        for child, _ in module.named_modules()
    }
    return [name for name, module in model.named_modules() if isinstance(module, kinds) and name not in inside]


@pytest.fixture(scope="module")
def vgg16() -> nn.Module:
    torch.manual_seed(0)
    return models.vgg16(init_weights=False, num_classes=10)


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    torch.manual_seed(0)
    return models.resnet18(num_classes=10)


def test_vgg16_has_13_convolutional_and_2_hidden_relus(vgg16: nn.Module) -> None:
    found = names(vgg16, "activations")
    assert found == [*modules_of(vgg16, nn.ReLU), "output"]
    assert len(found) == 13 + 2 + 1
    assert names(vgg16, "auto") == found


def test_vgg16_weights_are_its_convolutions_and_linear_layers(vgg16: nn.Module) -> None:
    found = names(vgg16, "weights")
    assert found == [*modules_of(vgg16, nn.Conv2d, nn.Linear), "output"]
    assert len(found) == 13 + 3 + 1


def test_all_of_vgg16_are_its_leaves(vgg16: nn.Module) -> None:
    leaves = [name for name, module in vgg16.named_modules() if not list(module.children())]
    assert names(vgg16, "all") == [*leaves, "output"]


def test_resnet18_counts_the_relu_after_the_addition(resnet18: nn.Module) -> None:
    found = names(resnet18, "activations")
    assert found == ["relu", *RELUS_OF_BASIC_BLOCKS, "output"]
    assert names(resnet18, "auto") == found


def test_resnet18_blocks_are_its_residual_blocks(resnet18: nn.Module) -> None:
    assert names(resnet18, "blocks") == [f"layer{stage}.{n}" for stage in (1, 2, 3, 4) for n in (0, 1)] + ["output"]


def test_resnet18_kinds(resnet18: nn.Module) -> None:
    with torch.no_grad():
        found = survey(resnet18.eval(), torch.rand(2, 3, 32, 32, generator=seeded(0)))
    kinds = {layer.name: layer.kind for layer in found.layers}
    assert kinds["conv1"] == "weight"
    assert kinds["bn1"] == "module"
    assert kinds["relu"] == kinds["layer3.1.relu#2"] == "activation"
    assert kinds["layer2.0"] == "block"
    assert kinds["output"] == "output"
    assert not found.uses_attention
    shapes = {layer.name: layer.shape for layer in found.layers}
    assert shapes["conv1"] == (64, 16, 16)
    assert shapes["layer4.1"] == (512, 1, 1)
    assert shapes["output"] == (10,)


def test_gates_and_squeezed_branches_do_not_count() -> None:
    small = models.mobilenet_v3_small(num_classes=10)
    assert names(small, "activations", 64) == [*modules_of(small, nn.Hardswish, nn.ReLU), "output"]
    efficient = models.efficientnet_b0(num_classes=10)
    found = names(efficient, "activations", 64)
    assert found == [*modules_of(efficient, nn.SiLU), "output"]
    assert len(found) == 1 + 1 + 15 * 2 + 1 + 1  # stem; a first block without expansion; 15 with; head; output
    assert not any("scale_activation" in name for name in found)


def test_densenet_counts_its_function_call_beside_its_modules() -> None:
    model = models.DenseNet(8, (2, 2), 16, num_classes=10)
    assert names(model, "activations", 64) == [*modules_of(model, nn.ReLU), "relu", "output"]


def test_googlenet_calls_all_its_nonlinearities_as_functions() -> None:
    model = models.googlenet(num_classes=10, init_weights=False, aux_logits=False)
    convolutions = [name.removesuffix(".conv") for name in modules_of(model, nn.Conv2d)]
    assert len(convolutions) == 57
    found = names(model, "activations", 64)
    assert sorted(found) == sorted([*(f"{name}.relu" for name in convolutions), "output"])


def test_vit_is_measured_by_its_blocks() -> None:
    model = models.VisionTransformer(32, 8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=10)
    blocks = [f"encoder.layers.encoder_layer_{number}" for number in range(3)]
    assert names(model, "auto") == [*blocks, "output"]
    assert names(model, "blocks") == [*blocks, "output"]
    assert names(model, "activations") == [*(f"{block}.mlp.1" for block in blocks), "output"]


def test_swin_is_measured_by_its_blocks() -> None:
    model = models.SwinTransformer([2, 2], 16, [1, 2], [2, 4], [4, 4], num_classes=10)
    assert names(model, "auto") == ["features.1.0", "features.3.0", "features.3.1", "output"]
    assert names(model, "activations") == [f"features.{name}.mlp.1" for name in ("1.0", "3.0", "3.1")] + ["output"]


def test_windows_of_timms_swin_belong_to_their_images() -> None:
    pytest.importorskip("timm", reason="timm is an extra")
    import_timm()
    from timm.models.swin_transformer import SwinTransformer

    model = SwinTransformer(32, 2, num_classes=5, embed_dim=16, depths=(1, 2), num_heads=(2, 4), window_size=4)
    with torch.no_grad():
        found = survey(model.eval(), torch.rand(2, 3, 32, 32, generator=seeded(0)))
    shapes = {layer.name: layer.shape for layer in found.layers}
    assert shapes["layers.0.blocks.0.attn"] == (16, 16, 16)  # 16 windows of 16 tokens of 16 numbers
    assert names(model, "auto") == ["layers.0.blocks.0", "layers.1.blocks.0", "layers.1.blocks.1", "output"]


class Functional(nn.Module):
    """Every spelling of a nonlinearity that is no module."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(6))

    def forward(self, x: Tensor) -> Tensor:
        a, b, c, d, e, f = self.convolutions
        x = F.relu(a(x), inplace=True)
        x = b(x).relu_()
        x = torch.tanh(c(x))
        x = d(x)
        x = x * torch.sigmoid(x)
        x = e(x).tanh().softmax(dim=1)
        x = f(x)
        return x.mul_(x.sigmoid())


def test_functions_count_in_every_spelling() -> None:
    """The sigmoid of x * sigmoid(x) is half of a swish, not an activation; softmax is none."""
    assert names(Functional(), "activations") == ["relu", "relu#2", "tanh", "silu", "tanh#2", "silu#2", "output"]


class Gated(nn.Module):
    """A hidden gate that multiplies, and a plain sigmoid that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.gate, self.last = (nn.Conv2d(3, 3, 3) for _ in range(3))
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.last(self.main(x) * self.sigmoid(self.gate(x))))


def test_a_sigmoid_that_multiplies_is_a_gate_and_another_is_not() -> None:
    assert names(Gated(), "activations") == ["sigmoid()", "output"]


class Clash(nn.Module):
    """A module and a function of one name."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.relu, self.b = nn.Conv2d(3, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.b(self.relu(self.a(x)))) + self.relu(x[..., 4:, 4:])


def test_a_function_does_not_take_a_modules_name(representations) -> None:
    assert names(Clash(), "activations") == ["relu", "relu()", "relu#2", "output"]
    images = torch.rand(4, 3, 8, 8, generator=seeded(0))
    model = Clash()
    together = representations(model, images, "activations")
    for name in ("relu", "relu()", "relu#2"):  # each alone is the one that goes by this name among all
        assert torch.equal(representations(model, images, [name])[name], together[name])
    assert not torch.equal(together["relu"][:, :48], together["relu#2"])


def test_fully_connected_networks_show_their_hidden_layers() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    assert names(model, "auto", 8) == ["2", "4", "output"]


def test_linear_models_show_their_weights_under_auto() -> None:
    assert names(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 2)), "auto", 8) == ["0", "2", "output"]


def test_patterns_match_whole_names_and_names_come_in_the_models_order(resnet18: nn.Module) -> None:
    assert names(resnet18, r"layer[12]\.\d") == ["layer1.0", "layer1.1", "layer2.0", "layer2.1"]
    assert names(resnet18, "relu") == ["relu"]
    assert names(resnet18, ["output", "layer1.0.relu#2", "conv1"]) == ["conv1", "layer1.0.relu#2", "output"]


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        (["layer1.0.relu#3"], ValueError, r"'layer1\.0\.relu#3' is unknown, close are .*layer1\.0\.relu#2"),
        (["layr1.0"], ValueError, r"'layr1\.0' is unknown, close are .*layer1\.0"),
        ("layer9.*", ValueError, r"at least one whole name; 'layer9\.\*' matches none of "),
        ("layer(", ValueError, r"one of auto, .*, or a regular expression; got 'layer\('"),
        ([], TypeError, r"layers must be a word, .*; got \[\]"),
    ],
)
def test_what_cannot_be_picked(resnet18: nn.Module, layers: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        names(resnet18, layers)


@pytest.mark.parametrize("word", ["activations", "blocks"])
def test_a_word_that_picks_nothing_says_what_there_is(word: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 2))
    with pytest.raises(ValueError, match=rf"layers='{word}' must select .* 0 activations, 2 weights and 0 blocks"):
        names(model, word, 8)


class Labels(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).argmax(dim=1)


def test_a_model_that_shows_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="shows no layer and no output"):
        names(Labels(), "auto", 8)
