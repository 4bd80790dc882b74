"""CIFAR-10 from its archive: a pickle, never loaded unless its hash is the published one."""

import hashlib
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from poolscope._torchvision import import_torchvision
from poolscope.datasets import load_images, open_images

DATASET = import_torchvision().datasets.CIFAR10
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
LABELS = [index % 10 for index in range(12)]


class RunsCode:
    """An object whose unpickling makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small archive, unpacked, of two images a batch, whose hashes take the place of the published ones."""
    folder = tmp_path / DATASET.base_folder
    folder.mkdir()
    names = [name for name, _ in [*DATASET.train_list, *DATASET.test_list]]
    for number, name in enumerate(names):
        rows = slice(2 * number, 2 * number + 2)
        content = {"data": PIXELS[rows].reshape(2, -1), "labels": LABELS[rows]}
        (folder / name).write_bytes(pickle.dumps(content))
    classes = {"label_names": [f"class{number}" for number in range(10)]}
    (folder / DATASET.meta["filename"]).write_bytes(pickle.dumps(classes))
    monkeypatch.setattr(DATASET, "train_list", [[name, md5(folder / name)] for name in names[:5]])
    monkeypatch.setattr(DATASET, "test_list", [[names[5], md5(folder / names[5])]])
    monkeypatch.setattr(DATASET, "meta", {**DATASET.meta, "md5": md5(folder / DATASET.meta["filename"])})
    return folder


def load(root: Path, split: str | None, **arguments: Any) -> tuple[torch.Tensor, list[int]]:
    images, labels = load_images("cifar10", split=split, root=root, with_labels=True, normalize="none", **arguments)
    return images, labels.tolist()


def test_images_labels_and_splits(batches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = torch.tensor(PIXELS / 255, dtype=torch.float32)
    for split, rows in (("train", slice(0, 10)), ("test", slice(10, 12)), (None, slice(0, 12))):
        images, labels = load(batches.parent, split)
        torch.testing.assert_close(images, expected[rows], rtol=0, atol=1e-7)
        assert labels == LABELS[rows]
    monkeypatch.setenv("POOLSCOPE_DATA", str(batches.parent))
    dataset = open_images("cifar10", split="test")
    assert dataset.mean == (0.4914, 0.4822, 0.4465)
    assert dataset.std == (0.2023, 0.1994, 0.2010)
    assert dataset.classes == tuple(f"class{number}" for number in range(10))
    with pytest.raises(ValueError, match="train or test, or None for all; got 'val'"):
        open_images("cifar10", split="val")


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_an_altered_pickle_is_not_loaded(batches: Path, tmp_path: Path, name: str) -> None:
    (batches / name).write_bytes(pickle.dumps(RunsCode(tmp_path / "made")))
    with pytest.raises(ValueError, match=rf"read only if their MD5 matches.*got .*{name}"):
        open_images("cifar10", root=batches.parent)
    assert not (tmp_path / "made").exists()
    pickle.loads((batches / name).read_bytes())
    assert (tmp_path / "made").exists()  # it would have


def test_an_archive_is_unpacked_only_if_its_hash_matches(batches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = batches.parent
    archive = root / DATASET.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(batches, DATASET.base_folder)
    for file in batches.iterdir():
        file.unlink()
    batches.rmdir()
    with pytest.raises(ValueError, match=r"archive must have the MD5 c58f.* before it is read"):
        open_images("cifar10", root=root)
    assert not batches.exists()
    monkeypatch.setattr(DATASET, "tgz_md5", md5(archive))
    assert load(root, "test")[1] == LABELS[10:]


def test_an_absent_archive_comes_with_the_step_to_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: Any, **__: Any) -> None:
        raise AssertionError("tried to download")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", fetch)
    with pytest.raises(
        FileNotFoundError, match=r"put cifar-10-python\.tar\.gz from http.* there, or pass download=True"
    ):
        open_images("cifar10", root=tmp_path)
    with pytest.raises(AssertionError, match="tried to download"):
        open_images("cifar10", root=tmp_path, download=True)


def test_a_missing_batch_is_named(batches: Path) -> None:
    (batches / "data_batch_2").unlink()
    with pytest.raises(FileNotFoundError, match="lacks data_batch_2"):
        open_images("cifar10", root=batches.parent)
