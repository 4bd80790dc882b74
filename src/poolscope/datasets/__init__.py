"""Data sets of images, as tensors normalised for a model: digits, CIFAR-10 and CIFAR-100, folders, Parquet files."""

from poolscope.datasets.arrays import Arrays, open_arrays
from poolscope.datasets.corruption import corrupt, frozen_noise
from poolscope.datasets.images import ImageDataset
from poolscope.datasets.indexed import Indexed
from poolscope.datasets.load import load_images, open_images
from poolscope.datasets.subsets import balanced_subset, validation_split
from poolscope.datasets.transform import normalise

__all__ = [
    "Arrays",
    "ImageDataset",
    "Indexed",
    "balanced_subset",
    "corrupt",
    "frozen_noise",
    "load_images",
    "normalise",
    "open_arrays",
    "open_images",
    "validation_split",
]
