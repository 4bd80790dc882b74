"""Every network through what poolscope does with networks: measuring, shuffling, shares, spectra."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import poolscope as ps

ACTIVATIONS = {"fullconn4": 3, "lenet": 4, "alexnet": 7, "vgg11": 8, "vgg13_bn": 10, "resnet18": 17, "resnet50": 49}
ACTIVATIONS |= {"efficientnet_b0": 1 + 1 + 15 * 2}  # those inside squeeze-and-excitation stand aside


@pytest.fixture
def images() -> Tensor:
    return torch.randn(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_measuring_sees_every_activation(
    family: str, small: Callable[..., nn.Module], settle: Callable[[nn.Module, Tensor], nn.Module], images: Tensor
) -> None:
    model = settle(small(family), images).float()
    table = ps.measure(model, images, layers="activations", progress=False).table
    assert table["kind"].tolist() == ["input", *["activation"] * ACTIVATIONS[family], "output"]
    assert np.isfinite(table[["D", "G", "R"]].to_numpy()).all()
    assert set(table["model"]) == {f"poolscope:{family}"}


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", ["fullconn4", "lenet", "resnet18", "efficientnet_b0"])
def test_a_swish_counts_as_activation_even_where_it_is_linear(
    name: str, beta: float, small: Callable[..., nn.Module], images: Tensor
) -> None:
    model = small(name, activation="swish", beta=beta)
    table = ps.measure(model, images[:4], layers="activations", progress=False).table
    assert table["kind"].tolist() == ["input", *["activation"] * ACTIVATIONS[name], "output"]


def test_shuffling_and_shares(
    family: str, small: Callable[..., nn.Module], settle: Callable[[nn.Module, Tensor], nn.Module], images: Tensor
) -> None:
    model = settle(small(family), images).float()
    table = ps.pooling_share(model, images, draws=2, layers="activations", progress=False)
    assert len(table) == ACTIVATIONS[family] + 2
    generator = torch.Generator().manual_seed(0)
    if family == "fullconn4":
        assert set(table["note"]) == {"no convolution is shuffled"}
        with pytest.raises(ValueError, match=r"must have a convolution.*FullConn has none"):
            ps.shuffle_channels(model, generator=generator)
        return
    assert np.isfinite(table["R_shuffled"].to_numpy()).all()
    shuffled = ps.shuffle_channels(model, generator=generator)
    assert not torch.allclose(shuffled(images), model(images))


def test_spectra_are_of_every_convolution(family: str, small: Callable[..., nn.Module]) -> None:
    model = small(family)
    table = ps.filter_spectrum(model)
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    assert list(dict.fromkeys(table["layer"])) == names
    assert (len(table) == 0) == (family == "fullconn4")
