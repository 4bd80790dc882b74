"""Folders of image files: order, classes, and errors for what cannot be one."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from poolscope.datasets import load_images, open_images


def paint(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.full((4, 5), value, dtype=np.uint8)).save(path)


def values(spec: str, **arguments: str) -> list[tuple[int, int]]:
    """(grey value, label) of every image."""
    images, labels = load_images(spec, with_labels=True, **arguments)
    return list(zip((images.amax((1, 2, 3)) * 255).round().int().tolist(), labels.tolist(), strict=True))


def test_subfolders_are_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, value in {"b/2.png": 3, "b/1.bmp": 2, "a/x/deep.PNG": 1, "c/.hidden.png": 9, "c/1.png": 4}.items():
        paint(tmp_path / name, value)
    paint(tmp_path / ".cache" / "0.png", 9)
    (tmp_path / "b" / "notes.txt").write_text("not an image")
    assert values(f"imagefolder:{tmp_path}") == [(1, 0), (2, 1), (3, 1), (4, 2)]
    assert open_images(f"imagefolder:{tmp_path}").classes == ("a", "b", "c")


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    for value in (2, 1, 3):
        paint(tmp_path / f"{value}.png", value)
    (tmp_path / "empty").mkdir()
    assert values(f"imagefolder:{tmp_path}") == [(1, -1), (2, -1), (3, -1)]
    assert open_images(f"imagefolder:{tmp_path}").classes is None


def test_a_split_is_a_subfolder(tmp_path: Path) -> None:
    paint(tmp_path / "train" / "a" / "1.png", 1)
    paint(tmp_path / "test" / "a" / "2.png", 2)
    assert values(f"imagefolder:{tmp_path}", split="test") == [(2, 0)]
    with pytest.raises(FileNotFoundError, match=r"existing folder; got .*val"):
        values(f"imagefolder:{tmp_path}", split="val")


def test_folders_that_cannot_be_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"existing folder; got .*absent"):
        open_images(f"imagefolder:{tmp_path / 'absent'}")
    with pytest.raises(ValueError, match=r"at least one image \(.*\.png.*\); .* has none"):
        open_images(f"imagefolder:{tmp_path}")
    paint(tmp_path / "a" / "1.png", 1)
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match=r"every subfolder is a class.*b has none"):
        open_images(f"imagefolder:{tmp_path}")
    paint(tmp_path / "loose.png", 1)
    with pytest.raises(ValueError, match=r"has both, for example loose\.png and a/"):
        open_images(f"imagefolder:{tmp_path}")
    with pytest.raises(ValueError, match=r"a folder that can be read.*Not a directory"):
        open_images(f"imagefolder:{tmp_path / 'loose.png'}")


def test_unreadable_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(ValueError, match=r"a folder that can be read; .*: Permission denied"):
        open_images(f"imagefolder:{tmp_path}")


@pytest.mark.parametrize("damage", [lambda good: good[: len(good) // 2], lambda good: b"", lambda good: b"not a png"])
def test_files_that_cannot_be_decoded_are_named(tmp_path: Path, damage: object) -> None:
    paint(tmp_path / "1.png", 1)
    good = (tmp_path / "1.png").read_bytes()
    (tmp_path / "2.png").write_bytes(damage(good))  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"can be decoded; .*2\.png cannot"):
        values(f"imagefolder:{tmp_path}")
