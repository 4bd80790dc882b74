"""Our networks by name."""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import nn

from poolscope.networks.alexnet import AlexNet
from poolscope.networks.efficientnet import EfficientNet
from poolscope.networks.fullconn import FullConn
from poolscope.networks.lenet import LeNet
from poolscope.networks.resnet import ResNet
from poolscope.networks.simple import SimpleCNN
from poolscope.networks.vgg import VGG

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    **{f"fullconn{depth}": functools.partial(FullConn, depth) for depth in (2, 4, 6)},
    "lenet": LeNet,
    "alexnet": AlexNet,
    **{
        f"vgg{depth}{'_bn' if batch_norm else ''}": functools.partial(VGG, depth, batch_norm=batch_norm)
        for depth in (11, 13, 16, 19)
        for batch_norm in (False, True)
    },
    "minivgg": functools.partial(VGG, 11, batch_norm=True, width=0.25),
    **{f"resnet{depth}": functools.partial(ResNet, depth) for depth in (18, 34, 50)},
    "efficientnet_b0": EfficientNet,
    "simplecnn": SimpleCNN,
}
