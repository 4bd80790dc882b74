"""CIFAR-10 and CIFAR-100 from their archives: pickles, never loaded unless their hashes are the published ones."""

import hashlib
import os
import pickle
import tarfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from poolscope._torchvision import import_torchvision
from poolscope.datasets import load_images, open_images

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)


class RunsCode:
    """An object whose unpickling makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@dataclass
class Archive:
    """A small archive, unpacked, two images a file, whose hashes take the place of the published ones."""

    name: str
    title: str
    dataset: Any
    root: Path
    classes: int
    published_md5: str
    normalisation: tuple[tuple[float, ...], tuple[float, ...]]

    @property
    def batches(self) -> Path:
        return self.root / self.dataset.base_folder

    @property
    def labels(self) -> list[int]:
        return [7 * index % self.classes for index in range(2 * self.files)]

    @property
    def files(self) -> int:
        return len(self.dataset.train_list) + len(self.dataset.test_list)

    def load(self, split: str | None, **arguments: Any) -> tuple[torch.Tensor, list[int]]:
        images, labels = load_images(
            self.name, split=split, root=self.root, with_labels=True, normalize="none", **arguments
        )
        return images, labels.tolist()

    def pack(self) -> Path:
        """The archive with the batches in it, which are removed."""
        archive = self.root / self.dataset.filename
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(self.batches, self.dataset.base_folder)
        for file in self.batches.iterdir():
            file.unlink()
        self.batches.rmdir()
        return archive


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture(params=["cifar10", "cifar100"])
def archive(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    datasets = import_torchvision().datasets
    if request.param == "cifar10":
        normalisation = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
        dataset = datasets.CIFAR10
        small = Archive("cifar10", "CIFAR-10", dataset, tmp_path, 10, "c58f30108f718f92721af3b95e74349a", normalisation)
        classes_key, labels_key = "label_names", "labels"
    else:
        normalisation = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
        dataset = datasets.CIFAR100
        small = Archive(
            "cifar100", "CIFAR-100", dataset, tmp_path, 100, "eb9058c3a382ffc7106e4002c42a8d85", normalisation
        )
        classes_key, labels_key = "fine_label_names", "fine_labels"
    small.batches.mkdir()
    train, test = ([name for name, _ in files] for files in (dataset.train_list, dataset.test_list))
    for number, name in enumerate([*train, *test]):
        rows = slice(2 * number, 2 * number + 2)
        content = {"data": PIXELS[rows].reshape(2, -1), labels_key: small.labels[rows], "coarse_labels": [3, 3]}
        (small.batches / name).write_bytes(pickle.dumps(content))
    classes = {classes_key: [f"class{number}" for number in range(small.classes)], "coarse_label_names": ["coarse"]}
    (small.batches / dataset.meta["filename"]).write_bytes(pickle.dumps(classes))
    monkeypatch.setattr(dataset, "train_list", [[name, md5(small.batches / name)] for name in train])
    monkeypatch.setattr(dataset, "test_list", [[name, md5(small.batches / name)] for name in test])
    monkeypatch.setattr(dataset, "meta", {**dataset.meta, "md5": md5(small.batches / dataset.meta["filename"])})
    return small


def test_images_labels_and_splits(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    images_in_all = 2 * archive.files
    expected = torch.tensor(PIXELS / 255, dtype=torch.float32)[:images_in_all]
    test = slice(images_in_all - 2, images_in_all)
    for split, rows in (("train", slice(0, images_in_all - 2)), ("test", test), (None, slice(0, images_in_all))):
        images, labels = archive.load(split)
        torch.testing.assert_close(images, expected[rows], rtol=0, atol=1e-7)
        assert labels == archive.labels[rows]
    monkeypatch.setenv("POOLSCOPE_DATA", str(archive.root))
    dataset = open_images(archive.name, split="test")
    assert (dataset.mean, dataset.std) == archive.normalisation
    assert dataset.classes == tuple(f"class{number}" for number in range(archive.classes))
    assert dataset.description()["archive_md5"] == archive.published_md5
    with pytest.raises(ValueError, match="train or test, or None for all; got 'val'"):
        open_images(archive.name, split="val")


@pytest.mark.parametrize("which", ["training", "test", "classes"])
def test_an_altered_pickle_is_not_loaded(archive: Archive, tmp_path: Path, which: str) -> None:
    dataset = archive.dataset
    names = {
        "training": dataset.train_list[-1][0],
        "test": dataset.test_list[0][0],
        "classes": dataset.meta["filename"],
    }
    file = archive.batches / names[which]
    file.write_bytes(pickle.dumps(RunsCode(tmp_path / "made")))
    with pytest.raises(ValueError, match=rf"^{archive.title} .* read only if their MD5 matches.*got .*{file.name}$"):
        open_images(archive.name, root=archive.root)
    assert not (tmp_path / "made").exists()
    pickle.loads(file.read_bytes())
    assert (tmp_path / "made").exists()  # it would have


def test_an_archive_is_unpacked_only_if_its_hash_matches(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = archive.pack()
    message = rf"^the {archive.title} archive must have the MD5 {archive.published_md5} before it is read"
    with pytest.raises(ValueError, match=message):
        open_images(archive.name, root=archive.root)
    assert not archive.batches.exists()
    monkeypatch.setattr(archive.dataset, "tgz_md5", md5(packed))
    assert archive.load("test")[1] == archive.labels[-2:]


def test_an_unpacking_cut_short_is_done_again(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = archive.pack()
    monkeypatch.setattr(archive.dataset, "tgz_md5", md5(packed))
    archive.batches.mkdir()
    first = archive.batches / archive.dataset.train_list[0][0]
    first.write_bytes(b"half a fi")
    assert archive.load(None)[1] == archive.labels


def test_two_openers_unpack_one_after_the_other(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    from poolscope.datasets import cifar

    packed = archive.pack()
    monkeypatch.setattr(archive.dataset, "tgz_md5", md5(packed))
    unpack, calls, gate = cifar._unpack, [], threading.Barrier(2)

    def counted(*arguments: Any, **named: Any) -> None:
        calls.append(1)
        unpack(*arguments, **named)

    def open_together() -> None:
        gate.wait()
        results.append(archive.load(None)[1])

    monkeypatch.setattr(cifar, "_unpack", counted)
    results: list[list[int]] = []
    threads = [threading.Thread(target=open_together) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [archive.labels, archive.labels]
    assert len(calls) == 1


def test_an_absent_archive_comes_with_the_step_to_take(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.pack().unlink()
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", offline)
    step = (
        rf"put {archive.dataset.filename} from http\S+/{archive.dataset.filename} \(MD5 {archive.published_md5}\) there"
    )
    with pytest.raises(
        FileNotFoundError, match=rf"^{archive.title} must be in {archive.root}: {step}, or pass download"
    ):
        open_images(archive.name, root=archive.root)
    failed = rf"^{archive.title} could not be fetched .*into {archive.root} \(.*no route.*\): {step}$"
    with pytest.raises(FileNotFoundError, match=failed) as caught:
        open_images(archive.name, root=archive.root / "", download=True)
    assert "\n" not in str(caught.value)


def offline(*_: Any, **__: Any) -> None:
    raise OSError("<urlopen error\nno route to host>")


def test_a_missing_batch_is_named(archive: Archive) -> None:
    (archive.batches / archive.dataset.test_list[0][0]).unlink()
    with pytest.raises(FileNotFoundError, match=rf"lacks {archive.dataset.test_list[0][0]}$"):
        open_images(archive.name, root=archive.root)
