"""A data set decoded once: images as bytes and labels, memory-mapped from a cache."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import Float32, Int64, UInt8
from torch import Tensor, nn

from poolscope.datasets.cache import cache_folder, decoded_once
from poolscope.datasets.images import Normalization
from poolscope.datasets.load import Images, Size, open_images
from poolscope.datasets.transform import normalise

Bytes = UInt8[Tensor, "images channels height width"]
Values = Float32[Tensor, "images channels height width"]


@dataclass(frozen=True, eq=False)
class Arrays:
    """All images and labels of a data set, not yet normalised.

    Attributes:
        name: the specification it was opened from.
        images: bytes, or float32 in [0, 1] where a source is deeper than 8 bits or colours were turned to grey;
            memory-mapped, so that pages are read when first used and shared between processes. Writing to them
            changes this process's copy only.
        labels: class numbers, -1 where there is none.
        classes: the names of the labels 0, 1, ..., if known.
        mean, std: of the normalisation, for values in [0, 1], one a channel; ``None`` if there is none.
        digest: SHA-256 of types, shapes and values of images and labels.
        origin: what `ImageDataset.description` says.
    """

    name: str
    images: Bytes | Values = field(repr=False)
    labels: Int64[Tensor, "images"] = field(repr=False)
    classes: tuple[str, ...] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    digest: str
    origin: dict[str, Any] = field(repr=False)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def number_of_classes(self) -> int:
        """The classes that have names, else one more than the largest label: 0 if no image has a label."""
        return len(self.classes) if self.classes is not None else int(self.labels.max()) + 1

    def normalised(self, indices: Int64[Tensor, "chosen"] | None = None) -> Images:
        """Images as a model takes them, float32 [N, C, H, W] in new memory: bit for bit those of `load_images`.

        Args:
            indices: which images, in which order; all by default.
        """
        images = self.images if indices is None else self.images[indices]
        return normalise(images, self.mean, self.std)


def open_arrays(
    spec: str,
    *,
    split: str | None = None,
    count: int | None = None,
    size: Size | None = None,
    for_model: nn.Module | str | None = None,
    normalize: Normalization = "auto",
    root: str | Path | None = None,
    download: bool = False,
    cache: str | Path | None = None,
    progress: bool = False,
) -> Arrays:
    """A data set as arrays, decoded at the first call and read from a cache afterwards.

    An entry of the cache is known by the source (names, sizes and times of files; the hash of an archive), the number
    of images, what is done to them before normalisation, and the version of the decoder. Its hash is checked each
    time it is opened: damage is told in a warning, and the images are decoded again. When two processes need
    the same entry, one decodes and the other waits for it. Killed at any moment, the next one starts afresh. Without
    a folder that can be written to, or with a full disk, the images are decoded into memory, and a warning says so.
    Entries may be deleted at any time.

    Args:
        spec, split, count, size, for_model, normalize, root, download: as for `open_images`.
        cache: folder of the entries; by default ``$POOLSCOPE_CACHE``, else ``~/.cache/poolscope/arrays``.
        progress: show a bar with the time left while decoding, on a terminal.

    Raises:
        ValueError, FileNotFoundError, ImportError: as for `load_images`.
    """
    dataset = open_images(
        spec,
        split=split,
        size=size,
        count=count,
        for_model=for_model,
        normalize=normalize,
        root=root,
        download=download,
    )
    if len(dataset.shape) != 3:
        raise ValueError(f"rows of pixels are not kept as arrays of images, load_images has them; got {spec!r}")
    images, labels, digest = decoded_once(dataset, cache_folder(cache), progress=progress)
    return Arrays(
        dataset.name, images, labels, dataset.classes, dataset.mean, dataset.std, digest, dataset.description()
    )
