"""From names to what a run needs: labelled images split in three, and a network with its initial weights."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from poolscope.datasets import balanced_subset, open_arrays, validation_split
from poolscope.datasets.arrays import Arrays
from poolscope.networks import load_model
from poolscope.training.batches import Corruption, LabelledImages
from poolscope.training.configuration import Configuration, DataChoice
from poolscope.training.initialise import initialise_he
from poolscope.training.recipe import validated
from poolscope.training.seeds import stream, stream_seed

_SHARE = 10  # without a number, a tenth of the training images is for validation


@dataclass(frozen=True)
class Data:
    """The images of a run.

    Attributes:
        choice: how they were chosen, with their hashes.
        train, validation, test: the three parts; validation is test where the choice says so.
        classes: number of classes.
    """

    choice: DataChoice
    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    classes: int

    @property
    def channels(self) -> int:
        """Of the images."""
        return int(self.train.images.shape[1])

    def measured(self, count: int) -> Float[Tensor, "images channels height width"]:
        """Return a class-balanced subset of the test images, normalised; their noise is frozen, if there is any."""
        chosen = torch.arange(len(self.test))
        if count < len(self.test):
            chosen = balanced_subset(self.test.labels.cpu(), count, seed=self.choice.seed)
        corruption = replace(self.test.corruption, noise="frozen")
        images = self.test.normalised(self.test.images.cpu()[chosen])
        return corruption(images, self.test.numbers.cpu()[chosen], generator_seed=0)


def prepare_data(
    spec: str,
    *,
    train: str | None = "train",
    test: str | None = "test",
    images: int | None = None,
    validation: int | str | None = None,
    seed: int = 0,
    eta: float = 0.0,
    noise: str = "fresh",
    size: int | None = None,
    normalize: str = "auto",
    **options: Any,
) -> Data:
    """Open a data set's splits, as uint8 arrays from the cache, and share out the training images.

    Args:
        spec, train, test, images, seed, eta, noise, size, normalize: as in `DataChoice`.
        validation: as there; by default a tenth of the training images.
        options: further ones of ``open_arrays``: ``root``, ``download``, ``cache``, ``progress``.

    Raises:
        ValueError: images without labels, splits of different shapes, or numbers beyond the images there are.
    """
    parts = [open_arrays(spec, split=split, size=size, normalize=normalize, **options) for split in (train, test)]
    for part, split in zip(parts, (train, test), strict=True):
        if part.labels.min() < 0:
            raise ValueError(f"images to be learned from must have labels; split {split!r} of {spec} has some without")
    if parts[0].images.shape[1:] != parts[1].images.shape[1:]:
        raise ValueError(
            f"training and test images must have the same shape; {spec} has {tuple(parts[0].images.shape[1:])} and "
            f"{tuple(parts[1].images.shape[1:])}"
        )
    if validation is None:
        validation = max(1, (images or len(parts[0].labels)) // _SHARE)
    fields = {
        "spec": spec,
        "train": train,
        "test": test,
        "size": size,
        "normalize": normalize,
        "images": images,
        "validation": validation,
        "seed": seed,
        "eta": eta,
        "noise": noise,
        "digests": (parts[0].digest, parts[1].digest),
    }
    choice = validated(DataChoice, fields, "data")
    corruption = Corruption(eta, choice.noise)
    seeds = [stream_seed(seed, "frozen noise", number) for number in range(2)]
    test_images = _part(parts[1], None, replace(corruption, seed=seeds[1]))
    chosen: Tensor = torch.arange(len(parts[0].labels))
    held_out = test_images
    corruption = replace(corruption, seed=seeds[0])
    if isinstance(choice.validation, int):
        if choice.validation < 1:
            raise ValueError(
                f'validation must be a number of training images from 1 or "test"; got {choice.validation}'
            )
        chosen, rest = validation_split(parts[0].labels, choice.validation, seed=seed)
        held_out = _part(parts[0], rest, corruption)
    if images is not None:
        chosen = chosen[balanced_subset(parts[0].labels[chosen], images, seed=seed)]
    classes = int(max(part.labels.max() for part in parts)) + 1
    return Data(choice, _part(parts[0], chosen, corruption), held_out, test_images, classes)


def prepare_model(configuration: Configuration, *, trust_code: bool = False) -> nn.Module:
    """Build the network with the initial weights of the run's seed; ``trust_code`` as for ``load_model``."""
    seed = configuration.seed
    model = load_model(
        configuration.model,
        seed=stream_seed(seed, "weights") % 2**32,
        trust_code=trust_code,
        **configuration.options,
    )
    if configuration.recipe.initialisation == "he":
        initialise_he(model, generator=stream(seed, "he initialisation"))
    return model


def _part(arrays: Arrays, chosen: Int64[Tensor, "images"] | None, corruption: Corruption) -> LabelledImages:
    everything = chosen is None or torch.equal(chosen, torch.arange(len(arrays.labels)))
    if chosen is None or everything:
        return LabelledImages(arrays.images, arrays.labels, arrays.mean, arrays.std, None, corruption)
    return LabelledImages(arrays.images[chosen], arrays.labels[chosen], arrays.mean, arrays.std, chosen, corruption)
