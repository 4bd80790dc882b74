"""Networks: VGG at CIFAR size, and any model of torchvision, timm or your own by name."""

from poolscope.networks.image_format import Preprocessing
from poolscope.networks.load import inherit_origin, load_model, model_name, preprocessing
from poolscope.networks.vgg import VGG
from poolscope.networks.weights import read_weights, write_weights

__all__ = [
    "VGG",
    "Preprocessing",
    "inherit_origin",
    "load_model",
    "model_name",
    "preprocessing",
    "read_weights",
    "write_weights",
]
