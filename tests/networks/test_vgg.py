"""VGG at CIFAR size against the numbers of parameters that follow from Table C1."""

import importlib.util

import pytest
import torch
from torch import nn

from poolscope.networks import VGG, load_model, vgg


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("vgg11", 9_225_610), ("vgg11_bn", 9_231_114), ("vgg16_bn", 14_728_266), ("vgg19_bn", 20_040_522)],
)
def test_numbers_of_parameters(name: str, parameters: int) -> None:
    assert sum(parameter.numel() for parameter in load_model(f"poolscope:{name}").parameters()) == parameters


def test_one_channel_takes_two_filters_planes_less() -> None:
    grey = VGG(11, in_channels=1)
    assert sum(parameter.numel() for parameter in grey.parameters()) == 9_225_610 - 2 * 9 * 64


def test_layers_of_vgg11_with_batch_norm() -> None:
    kinds = [type(layer) for layer in VGG(11, batch_norm=True, width=0.25).features]
    convolution, pool = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU], [nn.MaxPool2d]
    assert kinds == 2 * (convolution + pool) + 3 * (2 * convolution + pool)
    assert all(layer.inplace for layer in VGG(11).modules() if isinstance(layer, nn.ReLU))


def test_width_multiplies_the_channels() -> None:
    channels = [layer.out_channels for layer in VGG(11, width=0.25).modules() if isinstance(layer, nn.Conv2d)]
    assert channels == [16, 32, 64, 64, 128, 128, 128, 128]
    mini = load_model("poolscope:minivgg")
    assert [layer.out_channels for layer in mini.modules() if isinstance(layer, nn.Conv2d)] == channels


def test_padding_takes_small_images_to_32() -> None:
    model = VGG(11, width=0.125, in_channels=1, padding=2).eval()
    images = torch.randn(2, 1, 28, 28)
    unpadded = VGG(11, width=0.125, in_channels=1).eval()
    values = model.state_dict().values()  # the same in the same order; the names are shifted by the padding layer
    unpadded.load_state_dict(dict(zip(unpadded.state_dict(), values, strict=True)))
    torch.testing.assert_close(model(images), unpadded(nn.functional.pad(images, (2, 2, 2, 2))), rtol=0, atol=0)


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"32x32 after padding.*got images that leave 2x2"):
        VGG(11, width=0.125)(torch.zeros(1, 3, 64, 64))


def test_symbolic_tracing_keeps_the_outputs() -> None:
    # a second copy of the module, without the type checks of the tests, which refuse what stands for a tensor
    spec = importlib.util.spec_from_file_location("unchecked_vgg", vgg.__file__)
    assert spec is not None
    assert spec.loader is not None
    unchecked = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(unchecked)
    model = unchecked.VGG(11, width=0.125).eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(torch.fx.symbolic_trace(model)(images), model(images), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 12}, "depth must be one of 11, 13, 16, 19; got 12"),
        ({"depth": 11, "width": 0.0}, "width must be positive.*got 0.0"),
        ({"depth": 11, "num_classes": 0}, "at least 1; got 0 and 3"),
        ({"depth": 11, "padding": 16}, "padding must be in 0 .. 15.*got 16"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, int | float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VGG(**arguments)
