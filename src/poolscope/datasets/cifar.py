"""CIFAR-10 and CIFAR-100 from torchvision's archives. They hold pickles: nothing is read before its hash matches."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolscope._lock import locked
from poolscope._torchvision import import_torchvision
from poolscope.datasets.source import Statistics, check_split
from poolscope.networks.image_format import CIFAR10_MEAN, CIFAR10_STD

if TYPE_CHECKING:
    import PIL.Image

CIFAR100_MEAN, CIFAR100_STD = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)

_STATISTICS = {"cifar10": Statistics(CIFAR10_MEAN, CIFAR10_STD), "cifar100": Statistics(CIFAR100_MEAN, CIFAR100_STD)}


class CIFAR:
    """CIFAR-10 or CIFAR-100 (its 100 fine labels): 32x32 pixels, in colour.

    Split "train" (50,000 images), "test" (10,000), or both in this order. The statistics are the data set's own, as
    usually given: those of CIFAR-10 as in the paper, those of CIFAR-100 means (0.5071, 0.4865, 0.4409) and standard
    deviations (0.2673, 0.2564, 0.2762).

    Args:
        name: "cifar10" or "cifar100".
        split: "train", "test" or ``None`` for both.
        root: folder that holds the archive as torchvision's (``cifar-10-python.tar.gz``, ``cifar-100-python.tar.gz``)
            or what is in it; by default the environment variable ``POOLSCOPE_DATA``, else ``~/.cache/poolscope``.
        download: fetch the archive (170 MB) if it is absent, with a progress bar.

    Raises:
        FileNotFoundError: if it is absent and ``download`` is false, or cannot be fetched; says what to do by hand.
        ValueError: if there is no such split, or a file's hash is not the published one (nothing is unpickled then).

    Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """

    def __init__(
        self,
        name: str,
        split: str | None = None,
        *,
        root: str | Path | None = None,
        download: bool = False,
    ) -> None:
        check_split(split, ("train", "test"), name)
        self.name = name
        folder = Path(root or os.environ.get("POOLSCOPE_DATA") or "~/.cache/poolscope").expanduser()
        datasets = import_torchvision().datasets
        dataset = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
        _prepare(dataset, _TITLES[name], folder, download=download)
        parts = [dataset(folder, train=part == "train") for part in ("train", "test") if split in (part, None)]
        self._arrays = [part.data for part in parts]  # [N, 32, 32, 3] uint8
        self._labels = [label for part in parts for label in part.targets]
        self._split = split
        self._md5 = dataset.tgz_md5
        self.classes: tuple[str, ...] | None = tuple(parts[0].classes)
        self.statistics: Statistics | None = _STATISTICS[name]

    def __len__(self) -> int:
        return len(self._labels)

    def picture(self, index: int) -> "tuple[PIL.Image.Image, int]":
        import PIL.Image

        first = len(self._arrays[0])
        pixels = self._arrays[0][index] if index < first else self._arrays[1][index - first]
        return PIL.Image.fromarray(pixels), self._labels[index]

    def origin(self) -> dict[str, Any]:
        return {"split": self._split, "archive_md5": self._md5}

    def identity(self) -> dict[str, Any]:
        return {self.name: self._md5, "split": self._split}


_TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


def _prepare(dataset: Any, title: str, folder: Path, *, download: bool) -> None:
    """Leave the unpacked batches under ``folder``, every one with the published hash, or raise."""
    archive = folder / dataset.filename
    if _fault(dataset, title, folder) is None:
        return
    if archive.is_file() or download:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / f".{dataset.filename}.lock"):  # one process fetches and unpacks, others wait for it
                if _fault(dataset, title, folder) is not None:
                    _unpack(dataset, title, folder, download=download)
        except OSError as error:
            raise FileNotFoundError(
                f"{title} could not be fetched or unpacked into {folder} ({_one_line(error)}): "
                f"{_by_hand(dataset, folder)}"
            ) from error
    fault = _fault(dataset, title, folder)
    if fault is not None:
        raise fault


def _unpack(dataset: Any, title: str, folder: Path, *, download: bool) -> None:
    from torchvision.datasets.utils import check_integrity

    archive = folder / dataset.filename
    if archive.is_file() and not download and not check_integrity(archive, dataset.tgz_md5):
        raise ValueError(
            f"the {title} archive must have the MD5 {dataset.tgz_md5} before it is read; got {archive}, to be removed "
            "or, with download=True, fetched again"
        )
    try:
        dataset(folder, download=True)  # unpacks an archive that is there; fetches it only if it is not
    except RuntimeError as error:  # torchvision's word for an archive that arrived damaged
        raise OSError(_one_line(error)) from error


def _fault(dataset: Any, title: str, folder: Path) -> ValueError | FileNotFoundError | None:
    """What is wrong with the unpacked batches, if anything."""
    from torchvision.datasets.utils import check_integrity

    batches = folder / dataset.base_folder
    if not batches.is_dir():
        return FileNotFoundError(f"{title} must be in {folder}: {_by_hand(dataset, folder)}, or pass download=True")
    for name, md5 in [*dataset.train_list, *dataset.test_list, (dataset.meta["filename"], dataset.meta["md5"])]:
        if not (batches / name).is_file():
            return FileNotFoundError(f"{title} must be complete; {batches} lacks {name}")
        if not check_integrity(batches / name, md5):
            return ValueError(
                f"{title} files are pickles and read only if their MD5 matches, {md5}; got {batches / name}"
            )
    return None


def _by_hand(dataset: Any, folder: Path) -> str:
    return f"put {dataset.filename} from {dataset.url} (MD5 {dataset.tgz_md5}) there"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
