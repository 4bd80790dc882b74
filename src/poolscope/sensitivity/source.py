"""Images as a stream of indexed batches, from a tensor, a data set, a data loader, or a name."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, SequentialSampler

from poolscope._checks import check_measured


@runtime_checkable
class Source(Protocol):
    """Images with their indices."""

    name: str

    def total(self) -> int | None:
        """Return the number of images, None where it is not known in advance."""
        ...

    def first(self, count: int) -> Tensor:
        """Return the images of lowest index, at most ``count``."""
        ...

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images ``[B, C, H, W]`` and their indices ``[B]``; about ``size`` at a time."""
        ...


class TensorSource:
    """Images in memory."""

    def __init__(self, images: Tensor, name: str = "tensor"):
        check_measured(images)
        self.images = images
        self.name = name

    def total(self) -> int:
        return len(self.images)

    def first(self, count: int) -> Tensor:
        return self.images[:count]

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self.images), size):
            images = self.images[start : start + size]
            yield images, torch.arange(start, start + len(images))


class DatasetSource:
    """A map-style data set, decoded as it is read."""

    def __init__(self, dataset: Dataset[Any], name: str | None = None):
        if isinstance(dataset, IterableDataset) or not isinstance(dataset, Sized):
            raise TypeError(
                "a data set of images must have a length and be indexable, so that every image has an index; wrap an "
                f"iterable one in a DataLoader; got {type(dataset).__name__}"
            )
        self.dataset = dataset
        self.name = name or str(getattr(dataset, "name", type(dataset).__name__))

    def total(self) -> int:
        return len(cast(Sized, self.dataset))

    def first(self, count: int) -> Tensor:
        return self._read(0, min(count, self.total()))

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, self.total(), size):
            stop = min(start + size, self.total())
            yield self._read(start, stop), torch.arange(start, stop)

    def _read(self, start: int, stop: int) -> Tensor:
        images = [_image_of(self.dataset[index]) for index in range(start, stop)]
        for number, image in enumerate(images):
            if image.shape != images[0].shape:
                raise ValueError(
                    f"all images must have one shape to be stacked, that of image {start}, {tuple(images[0].shape)}; "
                    f"image {start + number} has {tuple(image.shape)}"
                )
        return torch.stack(images)


class LoaderSource:
    """A ``DataLoader``, in its own batches; a shuffling one must yield indices."""

    def __init__(self, loader: DataLoader[Any]):
        self.loader = loader
        self.name = type(loader.dataset).__name__
        self.shuffles = not (
            isinstance(loader.dataset, IterableDataset)
            or (type(loader.batch_sampler) is BatchSampler and isinstance(loader.sampler, SequentialSampler))
            or (loader.batch_sampler is None and isinstance(loader.sampler, SequentialSampler))
        )

    def total(self) -> int | None:
        dataset = self.loader.dataset
        return len(dataset) if isinstance(dataset, Sized) else None

    def first(self, count: int) -> Tensor:
        dataset = self.loader.dataset
        if isinstance(dataset, IterableDataset) or self.loader.batch_sampler is None:
            parts: list[Tensor] = []
            for images, _ in self.batches(count):
                parts.append(images)
                if sum(len(part) for part in parts) >= count:
                    break
            if not parts:
                raise ValueError("a DataLoader must yield at least one batch of images; got none")
            return torch.cat(parts)[:count]
        samples = [dataset[index] for index in range(min(count, len(cast(Sized, dataset))))]
        return _image_of(self.loader.collate_fn(samples))

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        seen: set[int] = set()
        position = 0
        for batch in self.loader:
            images = _image_of(batch)
            check_measured(images)
            if self.shuffles:
                indices = _indices_of(batch, len(images))
                repeated = seen.intersection(indices.tolist()) if indices is not None else set()
                if indices is None or repeated or len(set(indices.tolist())) < len(indices):
                    raise ValueError(
                        "a shuffling DataLoader must yield each image's index, as the last entry of its batches or "
                        'under "index" (poolscope.Indexed(dataset) does that), or every run would perturb the images '
                        f"differently; got {'repeated indices' if indices is not None else _shape_of(batch)}"
                    )
                seen.update(indices.tolist())
            else:
                indices = torch.arange(position, position + len(images))
            position += len(images)
            yield images, indices


def open_source(images: object, model: nn.Module | None = None) -> Source:
    """Return the stream behind whatever names or holds images.

    Args:
        images: ``[N, C, H, W]``, or rows ``[N, C, L]``, floating point; a map-style data set of images or (image, …);
            a ``DataLoader``; or the name of a data set, as for ``load_images``, or a folder of images.
        model: whose size and normalisation a named data set or folder is given.

    Raises:
        TypeError: none of these, or images that are not floating point.
        ValueError: wrong shapes, or no images.
    """
    if isinstance(images, Tensor):
        return TensorSource(images)
    if isinstance(images, DataLoader):
        return LoaderSource(images)
    if isinstance(images, (str, Path)):
        from poolscope.datasets import open_images

        name = f"imagefolder:{images}" if Path(images).is_dir() else str(images)
        return DatasetSource(open_images(name, for_model=model), name=name)
    if isinstance(images, Dataset):
        return DatasetSource(images)
    raise TypeError(
        "images must be a tensor [N, C, H, W], a Dataset, a DataLoader or the name of a data set; "
        f"got {type(images).__name__}"
    )


def _image_of(batch: Any) -> Tensor:
    if isinstance(batch, dict):
        for key in ("image", "images", "pixel_values", "img"):
            if key in batch:
                return _image_of(batch[key])
    if isinstance(batch, (tuple, list)) and batch:
        return _image_of(batch[0])
    if isinstance(batch, Tensor):
        return batch
    raise TypeError(f"a data set must give images as tensors, alone or first in a tuple; got {_shape_of(batch)}")


def _indices_of(batch: Any, count: int) -> Tensor | None:
    value: Any = None
    if isinstance(batch, dict):
        value = batch.get("index", batch.get("indices"))
    elif isinstance(batch, (tuple, list)) and len(batch) >= 2:
        value = batch[-1]
    if not isinstance(value, Tensor) or value.shape != (count,) or value.is_floating_point() or int(value.min()) < 0:
        return None
    return value.long().cpu()


def _shape_of(batch: Any) -> str:
    if isinstance(batch, (tuple, list)):
        return f"a {type(batch).__name__} of {', '.join(type(part).__name__ for part in batch)}"
    return type(batch).__name__
