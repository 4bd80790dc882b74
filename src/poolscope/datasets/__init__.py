"""Data sets of images, as tensors normalised for a model: digits, CIFAR-10, folders, Parquet files."""

from poolscope.datasets.images import ImageDataset
from poolscope.datasets.indexed import Indexed
from poolscope.datasets.load import load_images, open_images

__all__ = ["ImageDataset", "Indexed", "load_images", "open_images"]
