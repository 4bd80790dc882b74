"""EfficientNetB0 against torchvision's own with another stem and without its head."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from poolscope._torchvision import import_torchvision
from poolscope.networks import load_model
from poolscope.networks.efficientnet import EfficientNet


def theirs(**options: float) -> nn.Module:
    model = import_torchvision().models.efficientnet_b0(weights=None, **options)
    model.features[0][0] = nn.Conv2d(3, 32, kernel_size=3, stride=1, padding=1, bias=False)
    model.features[8] = nn.Identity()
    model.classifier[1] = nn.Linear(320, 10)
    return model


def test_outputs_are_those_of_torchvision_with_another_stem_and_no_head() -> None:
    model = load_model("poolscope:efficientnet_b0", dropout=0.0, drop_connect=0.0, seed=0).train()
    expected = theirs(dropout=0.0, stochastic_depth_prob=0.0).train()
    missing, unexpected = expected.load_state_dict(model.state_dict(), strict=False)
    assert (missing, unexpected) == ([], ["idle_expansion"])
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    outputs = model(images)
    assert torch.equal(outputs, expected(images))
    assert outputs.std(dim=0).min() > 1e-3


def test_blocks_are_left_out_as_often_as_in_torchvision() -> None:
    def rates(model: nn.Module) -> list[float]:
        return [module.p for module in model.modules() if type(module).__name__ == "StochasticDepth"]

    assert rates(EfficientNet()) == rates(theirs()) == pytest.approx([0.2 * number / 16 for number in range(16)])
    assert set(rates(EfficientNet(drop_connect=0.0))) == {0.0}


def test_stages() -> None:
    model = EfficientNet().eval()
    shapes: list[tuple[int, ...]] = []

    def note(module: nn.Module, inputs: object, output: Tensor) -> None:
        shapes.append(tuple(output.shape[1:3]))

    for stage in model.features:
        stage.register_forward_hook(note)
    model(torch.zeros(1, 3, 32, 32))
    assert shapes == [(32, 32), (16, 32), (24, 16), (40, 8), (80, 4), (112, 4), (192, 2), (320, 2)]


def test_what_is_idle_changes_nothing(settle: Callable[[nn.Module, Tensor], nn.Module]) -> None:
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = settle(EfficientNet(width=0.25), images)
    before = model(images)
    with torch.no_grad():
        model.idle_expansion.fill_(3.0)
    assert torch.equal(model(images), before)


@pytest.mark.parametrize(("width", "channels"), [(0.25, {8, 16, 32, 48, 80}), (0.01, {8})])
def test_width_rounds_to_multiples_of_eight(width: float, channels: set[int]) -> None:
    model = EfficientNet(width=width)
    projected = {blocks[-1].block[-1][0].out_channels for blocks in list(model.features)[1:]}
    assert projected == channels
    assert len(model.features[1][0].block) == 3  # the first block still does not expand
