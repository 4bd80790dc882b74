"""What the tests of several networks share: small versions of all of them, and a convolution in slow loops."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from poolscope.networks import load_model

# every family, at the least width at which it still has several channels
SMALL: dict[str, dict[str, object]] = {
    "fullconn4": {"width": 0.25},
    "lenet": {},
    "alexnet": {"width": 1 / 16},
    "vgg11": {"width": 1 / 16},
    "vgg13_bn": {"width": 1 / 16},
    "resnet18": {"width": 1 / 16},
    "resnet50": {"width": 1 / 16},
    "efficientnet_b0": {"width": 0.25},
}


@pytest.fixture(params=sorted(SMALL))
def family(request: pytest.FixtureRequest) -> str:
    """Each family's name in turn."""
    return request.param


@pytest.fixture
def small() -> Callable[..., nn.Module]:
    """Return a small network of a family."""

    def load(name: str, **options: object) -> nn.Module:
        return load_model(f"poolscope:{name}", **{"seed": 0, **SMALL[name], **options})

    return load


@pytest.fixture
def settle() -> Callable[[nn.Module, Tensor], nn.Module]:
    """Return a function that gives batch norms the statistics of some images, in double precision.

    With those they start from, the signal of a deep network dies out, and its outputs tell nothing.
    """

    def settled(model: nn.Module, images: Tensor) -> nn.Module:
        model.double().train()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(0)  # of dropout
            model(images.double())
        return model.eval()

    return settled


@pytest.fixture
def convolve() -> Callable[..., np.ndarray]:
    """Return a convolution, pixel by pixel."""

    def slow(images: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int, padding: int) -> np.ndarray:
        padded = np.pad(images, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
        size = weight.shape[-1]
        side = (padded.shape[-1] - size) // stride + 1
        result = np.empty((len(images), len(weight), side, side))
        for y in range(side):
            for x in range(side):
                patch = padded[:, :, y * stride : y * stride + size, x * stride : x * stride + size]
                for channel, filters in enumerate(weight):
                    result[:, channel, y, x] = (patch * filters).sum((1, 2, 3)) + bias[channel]
        return result

    return slow


@pytest.fixture
def pool() -> Callable[[np.ndarray], np.ndarray]:
    """Return a max pooling over squares of 2x2 pixels, an odd last row or column left out."""

    def slow(images: np.ndarray) -> np.ndarray:
        height, width = images.shape[2] // 2 * 2, images.shape[3] // 2 * 2
        corners = [images[:, :, y:height:2, x:width:2] for y in (0, 1) for x in (0, 1)]
        return np.maximum.reduce(corners)

    return slow
