"""Images by name: the digits, CIFAR-10, CIFAR-100, folders and Parquet files."""

import difflib
from dataclasses import replace
from pathlib import Path
from typing import Literal, overload

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from poolscope.datasets.cifar import CIFAR
from poolscope.datasets.digits import Digits
from poolscope.datasets.folder import ImageFolder
from poolscope.datasets.images import ImageDataset, Normalization
from poolscope.datasets.parquet import Parquet
from poolscope.datasets.scale_detection import ScaleDetectionImages
from poolscope.datasets.source import Source
from poolscope.networks import Preprocessing, preprocessing

Size = int | tuple[int, int]
Images = Float[Tensor, "images channels *size"]
Labels = Int64[Tensor, "images"]


def open_images(
    spec: str,
    *,
    split: str | None = None,
    size: Size | None = None,
    count: int | None = None,
    for_model: nn.Module | str | None = None,
    normalize: Normalization = "auto",
    root: str | Path | None = None,
    download: bool = False,
    eta: float = 0.0,
    noise_seed: int = 0,
) -> ImageDataset:
    """A data set that decodes each image when asked for it.

    Args:
        spec: ``"digits"``, scikit-learn's 8x8 digits at 32x32; ``"cifar10"``; ``"cifar100"``, its 100 fine classes;
            ``"imagefolder:DIR"``, image files in one subfolder a class, or in none; ``"parquet:FILE-or-DIR"``, encoded
            images as on the Hugging Face hub; ``"scale-detection:task=1,dim=2,length=32,scale=14,gap=2"``, a task of
            section 3 (`poolscope.tasks`), in the pixel values of the task, whatever the model.
        split: ``"train"`` or ``"test"`` for digits, cifar10, cifar100 and tasks that say ``train=``, a subfolder of
            ``imagefolder:``, the beginning of the file names of ``parquet:``. ``None`` takes all there are.
        size: pixels per side, or (height, width): the image is resized with its proportions until it just covers
            this, and the middle cut out.
        count: only the first so many images.
        for_model: a model, or its name for `load_model`: the size, cut, interpolation, channels and normalisation it
            wants, as far as `preprocessing` knows them. ``size`` and ``normalize`` go before.
        normalize: ``"auto"``: as the model wants, else as is usual for the data set (digits, cifar10, cifar100), else
            none; ``"cifar10"``; ``"cifar100"``; ``"imagenet"``; ``"none"``, values in [0, 1]; or a pair (means, stds).
        root: folder of the archive of cifar10 or cifar100; by default ``$POOLSCOPE_DATA``, else
            ``~/.cache/poolscope``.
        download: fetch the archive of cifar10 or cifar100 if it is absent, with a progress bar.
        eta: expected norm of Gaussian noise added to every normalised image, the same each time it is read
            (`frozen_noise`); 0 for none.
        noise_seed: of that noise, which depends on this and the index of the image.

    Raises:
        ValueError: unknown spec, split or normalisation, a size below 1, a count beyond the images there are, an
            empty, damaged or unreadable source, or ``eta`` or ``noise_seed`` out of range.
        FileNotFoundError: no such file or folder, or an archive is absent or cannot be fetched.
        ImportError: the library that the source needs is not installed.
    """
    wanted = preprocessing(for_model) if for_model is not None else None
    channels = wanted.channels if wanted else None
    if size is not None:
        pixels = (size, size) if isinstance(size, int) else size
        if min(pixels) < 1:
            raise ValueError(f"size must be at least 1 pixel per side; got {size}")
        default = Preprocessing(pixels, mean=None, std=None, channels=3, resize=pixels)
        wanted = replace(wanted or default, size=pixels, resize=pixels)
    source = _open_source(spec, split, root, download)
    if isinstance(source, ScaleDetectionImages):
        if size is not None:
            raise ValueError(f"a task's size is its length, size must be left out; got size={size} for {spec!r}")
        wanted = None
    return ImageDataset(
        source,
        wanted=wanted,
        channels=channels,
        normalize=normalize,
        count=count,
        eta=eta,
        noise_seed=noise_seed,
    )


@overload
def load_images(
    spec: str,
    *,
    split: str | None = ...,
    size: Size | None = ...,
    count: int | None = ...,
    for_model: nn.Module | str | None = ...,
    normalize: Normalization = ...,
    with_labels: Literal[False] = ...,
    root: str | Path | None = ...,
    download: bool = ...,
    eta: float = ...,
    noise_seed: int = ...,
) -> Images: ...


@overload
def load_images(
    spec: str,
    *,
    split: str | None = ...,
    size: Size | None = ...,
    count: int | None = ...,
    for_model: nn.Module | str | None = ...,
    normalize: Normalization = ...,
    with_labels: Literal[True],
    root: str | Path | None = ...,
    download: bool = ...,
    eta: float = ...,
    noise_seed: int = ...,
) -> tuple[Images, Labels]: ...


def load_images(
    spec: str,
    *,
    split: str | None = None,
    size: Size | None = None,
    count: int | None = None,
    for_model: nn.Module | str | None = None,
    normalize: Normalization = "auto",
    with_labels: bool = False,
    root: str | Path | None = None,
    download: bool = False,
    eta: float = 0.0,
    noise_seed: int = 0,
) -> Images | tuple[Images, Labels]:
    """All images of a data set as one tensor, float32 [N, C, H, W] ([N, C, L] of rows), normalised.

    The arguments are those of `open_images`, which see.

    Args:
        with_labels: return (images, labels), the labels int64 and -1 where there is none.

    Raises:
        ValueError: images of different sizes while no ``size`` is given, one that cannot be decoded, or as
            `open_images`, which can also raise FileNotFoundError and ImportError.
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
        eta=eta,
        noise_seed=noise_seed,
    )
    images = torch.empty(len(dataset), *dataset.shape, dtype=torch.float32)
    labels = torch.empty(len(dataset), dtype=torch.int64)
    for index in range(len(dataset)):
        images[index], labels[index] = dataset[index]
    return (images, labels) if with_labels else images


def _open_source(spec: str, split: str | None, root: str | Path | None, download: bool) -> Source:
    kind, colon, path = spec.partition(":")
    if colon and path and kind == "imagefolder":
        return ImageFolder(path, split)
    if colon and path and kind == "parquet":
        return Parquet(path, split)
    if kind == "scale-detection":
        return ScaleDetectionImages(spec if colon else f"{spec}:", split)
    if spec == "digits":
        return Digits(split)
    if spec == "cifar10" or spec == "cifar100":
        return CIFAR(spec, split, root=root, download=download)
    known = ["digits", "cifar10", "cifar100", "imagefolder:DIR", "parquet:FILE-or-DIR", "scale-detection:..."]
    close = difflib.get_close_matches(kind, [name.partition(":")[0] for name in known], n=1)
    if Path(spec).expanduser().exists():
        close = [f"{'parquet' if spec.endswith('.parquet') else 'imagefolder'}:{spec}"]
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise ValueError(f"images must be one of {', '.join(known)}; got {spec!r}{hint}")
