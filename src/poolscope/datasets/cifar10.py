"""CIFAR-10 from the archive that torchvision uses. It holds pickles, so nothing is read before its hash matches."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolscope._torchvision import import_torchvision
from poolscope.datasets.source import Statistics, check_split
from poolscope.networks.image_format import CIFAR10_MEAN, CIFAR10_STD

if TYPE_CHECKING:
    import PIL.Image


class CIFAR10:
    """CIFAR-10, 32x32 pixels, in colour: split "train" (50,000 images), "test" (10,000), or both in this order.

    Args:
        split: "train", "test" or ``None`` for both.
        root: folder that holds ``cifar-10-batches-py`` or ``cifar-10-python.tar.gz``; by default the environment
            variable ``POOLSCOPE_DATA``, else ``~/.cache/poolscope``.
        download: fetch the archive (170 MB) if it is absent.

    Raises:
        FileNotFoundError: if it is absent and ``download`` is false; says what to do by hand.
        ValueError: if there is no such split, or a file's hash is not the published one (nothing is unpickled then).
    """

    name = "cifar10"

    def __init__(self, split: str | None = None, *, root: str | Path | None = None, download: bool = False) -> None:
        check_split(split, ("train", "test"), self.name)
        folder = Path(root or os.environ.get("POOLSCOPE_DATA") or "~/.cache/poolscope").expanduser()
        dataset = import_torchvision().datasets.CIFAR10
        _prepare(dataset, folder, download=download)
        parts = [dataset(folder, train=part == "train") for part in ("train", "test") if split in (part, None)]
        self._arrays = [part.data for part in parts]  # [N, 32, 32, 3] uint8
        self._labels = [label for part in parts for label in part.targets]
        self._split = split
        self.classes: tuple[str, ...] | None = tuple(parts[0].classes)
        self.statistics: Statistics | None = Statistics(CIFAR10_MEAN, CIFAR10_STD)

    def __len__(self) -> int:
        return len(self._labels)

    def picture(self, index: int) -> "tuple[PIL.Image.Image, int]":
        import PIL.Image

        first = len(self._arrays[0])
        pixels = self._arrays[0][index] if index < first else self._arrays[1][index - first]
        return PIL.Image.fromarray(pixels), self._labels[index]

    def origin(self) -> dict[str, Any]:
        return {"split": self._split, "archive_md5": import_torchvision().datasets.CIFAR10.tgz_md5}


def _prepare(dataset: Any, folder: Path, *, download: bool) -> None:
    """Leave the unpacked batches under ``folder``, every one with the published hash, or raise."""
    from torchvision.datasets.utils import check_integrity

    archive, batches = folder / dataset.filename, folder / dataset.base_folder
    if not batches.is_dir():
        if archive.is_file() and not download and not check_integrity(archive, dataset.tgz_md5):
            raise ValueError(
                f"the CIFAR-10 archive must have the MD5 {dataset.tgz_md5} before it is read; got {archive}"
            )
        if not archive.is_file() and not download:
            raise FileNotFoundError(
                f"CIFAR-10 must be in {folder}: put {dataset.filename} from {dataset.url} there, or pass download=True"
            )
        dataset(folder, download=True)  # unpacks an archive that is there; fetches it only if it is not
    for name, md5 in [*dataset.train_list, *dataset.test_list, (dataset.meta["filename"], dataset.meta["md5"])]:
        if not (batches / name).is_file():
            raise FileNotFoundError(f"CIFAR-10 must be complete; {batches} lacks {name}")
        if not check_integrity(batches / name, md5):
            raise ValueError(
                f"CIFAR-10 files are pickles and read only if their MD5 matches, {md5}; got {batches / name}"
            )
