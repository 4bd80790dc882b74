"""Networks: those of Table C1 at CIFAR size, and any model of torchvision, timm or your own by name."""

from poolscope.networks.image_format import Preprocessing
from poolscope.networks.load import load_model, preprocessing
from poolscope.networks.origin import inherit_origin, model_name
from poolscope.networks.table_c1 import table_c1
from poolscope.networks.vgg import VGG
from poolscope.networks.weights import read_weights, weights_facts, write_weights

__all__ = [
    "VGG",
    "Preprocessing",
    "inherit_origin",
    "load_model",
    "model_name",
    "preprocessing",
    "read_weights",
    "table_c1",
    "weights_facts",
    "write_weights",
]
