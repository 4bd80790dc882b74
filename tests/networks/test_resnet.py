"""ResNets against torchvision's own with another stem, and the shapes of their stages."""

import pytest
import torch
from torch import Tensor, nn

from poolscope._torchvision import import_torchvision
from poolscope.networks import load_model
from poolscope.networks.resnet import ResNet


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_outputs_are_those_of_torchvision_with_another_stem(depth: int) -> None:
    model = load_model(f"poolscope:resnet{depth}", num_classes=5, seed=0).train()
    theirs = getattr(import_torchvision().models, f"resnet{depth}")(weights=None, num_classes=5)
    theirs.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    theirs.load_state_dict(model.state_dict())
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    outputs = model(images)
    assert torch.equal(outputs, theirs.train()(images))
    assert outputs.std(dim=0).min() > 1e-3
    assert torch.equal(model.eval()(images), theirs.eval()(images))  # the running statistics went the same way


@pytest.mark.parametrize(("depth", "expansion"), [(18, 1), (50, 4)])
def test_stages_halve_the_image_and_double_the_channels(depth: int, expansion: int) -> None:
    model = ResNet(depth, width=0.125).eval()
    shapes: list[tuple[int, ...]] = []

    def note(module: nn.Module, inputs: object, output: Tensor) -> None:
        shapes.append(tuple(output.shape[1:]))

    for stage in (model.relu, model.layer1, model.layer2, model.layer3, model.layer4, model.avgpool):
        stage.register_forward_hook(note)
    model(torch.zeros(1, 3, 32, 32))
    channels = [8 * expansion * 2**number for number in range(4)]
    assert shapes == [
        (8, 32, 32),
        *((number, side, side) for number, side in zip(channels, (32, 16, 8, 4), strict=True)),
        (64 * expansion, 1, 1),
    ]


def test_other_depths_are_refused() -> None:
    with pytest.raises(ValueError, match="depth must be one of 18, 34, 50; got 101"):
        ResNet(101)
