"""scikit-learn's handwritten digits: 1797 real images of 8x8 pixels, part of that package."""

from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from poolscope.datasets.source import Statistics, check_split

if TYPE_CHECKING:
    import PIL.Image

_PIXELS = 32
_TEST_IMAGES = 360


class Digits:
    """The digits, resized (bilinear) to 32x32, grey.

    Split "train" (1437 images) and "test" (360) are a fixed shuffle in which every digit has the same share of both;
    ``None`` is all 1797 in their original order. The statistics are those of the training images.

    Raises:
        ImportError: if scikit-learn is not installed.
        ValueError: if there is no such split.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998, its test part.
    """

    name = "digits"
    classes: tuple[str, ...] | None = tuple("0123456789")

    def __init__(self, split: str | None = None) -> None:
        try:
            from sklearn.datasets import load_digits
        except ModuleNotFoundError as error:
            raise ImportError('the digits come with scikit-learn: pip install "poolscope[digits]"') from error
        check_split(split, ("train", "test"), self.name)
        data = load_digits()
        small = torch.from_numpy(data.images).float()[:, None] / 16
        images = torch.nn.functional.interpolate(small, size=(_PIXELS, _PIXELS), mode="bilinear", align_corners=False)
        train, test = _split(data.target)
        training_pixels = images[train].double()
        mean, std = training_pixels.mean().item(), training_pixels.std(correction=0).item()
        self.statistics: Statistics | None = Statistics((mean,), (std,))
        chosen = {"train": train, "test": test, None: np.arange(len(images))}[split]
        self._images = images[chosen, 0].numpy()
        self._labels = data.target[chosen]
        self._split = split

    def __len__(self) -> int:
        return len(self._images)

    def picture(self, index: int) -> "tuple[PIL.Image.Image, int]":
        import PIL.Image

        return PIL.Image.fromarray(self._images[index]), int(self._labels[index])

    def origin(self) -> dict[str, Any]:
        return {"split": self._split, "package": "scikit-learn"}

    def identity(self) -> dict[str, Any]:
        return {"digits": metadata.version("scikit-learn"), "split": self._split}


def _split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and of the test images, both shuffled, every class shared out alike."""
    random = np.random.RandomState(0)  # the one generator whose stream numpy promises never to change
    counts = np.bincount(labels)
    shares = counts * _TEST_IMAGES / len(labels)
    tests = np.floor(shares).astype(int)
    leftover = np.argsort(tests - shares, kind="stable")[: _TEST_IMAGES - tests.sum()]  # the largest remainders
    tests[leftover] += 1
    by_class = [random.permutation(np.flatnonzero(labels == label)) for label in range(len(counts))]
    test = np.concatenate([indices[:number] for indices, number in zip(by_class, tests, strict=True)])
    train = np.concatenate([indices[number:] for indices, number in zip(by_class, tests, strict=True)])
    return random.permutation(train), random.permutation(test)
