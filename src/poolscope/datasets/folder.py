"""A folder of image files, with one subfolder a class or with none."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolscope.datasets.source import Statistics, size_and_time

if TYPE_CHECKING:
    import PIL.Image

_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


class ImageFolder:
    """Image files below a folder, in the order of their names; hidden files and folders are left out.

    Subfolders are classes, in the order of their names, with the images anywhere below them. A folder with images
    and no images in subfolders is one without labels (-1).

    Args:
        folder: where the images are.
        split: name of a subfolder to use instead.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it holds no images, cannot be read, has an empty class, or mixes images and classes.
    """

    statistics: Statistics | None = None

    def __init__(self, folder: str | Path, split: str | None = None) -> None:
        folder = Path(folder).expanduser()
        self.name = f"imagefolder:{folder}"
        if split is not None:
            folder = folder / split
        if not folder.exists():
            raise FileNotFoundError(f"imagefolder: needs an existing folder; got {folder}")
        try:
            self._list(folder)
        except OSError as error:
            raise ValueError(f"imagefolder: needs a folder that can be read; {folder}: {error.strerror}") from error
        self._folder, self._split = folder, split

    def _list(self, folder: Path) -> None:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        loose = [entry for entry in entries if _is_image(entry)]
        below = {entry.name: _images_below(entry) for entry in entries if entry.is_dir()}
        labelled = any(below.values())
        if not loose and not labelled:
            raise ValueError(
                f"imagefolder: needs at least one image ({', '.join(sorted(_SUFFIXES))}); {folder} has none"
            )
        if loose and labelled:
            raise ValueError(
                f"imagefolder: needs images all in subfolders, the classes, or all beside each other; {folder} "
                f"has both, for example {loose[0].name} and {next(name for name in below if below[name])}/"
            )
        empty = [name for name in below if labelled and not below[name]]
        if empty:
            raise ValueError(
                f"imagefolder: every subfolder is a class and needs an image; {folder / empty[0]} has none"
            )
        self.classes: tuple[str, ...] | None = tuple(below) if labelled else None
        self._files = (
            [(path, -1) for path in loose]
            if loose
            else [(path, label) for label, paths in enumerate(below.values()) for path in paths]
        )

    def __len__(self) -> int:
        return len(self._files)

    def picture(self, index: int) -> "tuple[PIL.Image.Image, int]":
        import PIL.Image

        path, label = self._files[index]
        try:
            picture = PIL.Image.open(path)
            picture.load()
        except (OSError, SyntaxError, PIL.Image.DecompressionBombError) as error:
            raise ValueError(f"imagefolder: needs images that can be decoded; {path} cannot ({error})") from error
        return picture, label

    def origin(self) -> dict[str, Any]:
        return {"split": self._split, "folder": str(self._folder.resolve()), "files": len(self._files)}

    def identity(self) -> dict[str, Any]:
        listed = hashlib.sha256()
        for path, _ in self._files:  # the labels follow from the names
            listed.update(f"{path.relative_to(self._folder)}\0{size_and_time(path)}\0".encode(errors="surrogateescape"))
        return {"imagefolder": str(self._folder.resolve()), "files": listed.hexdigest()}


def _images_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if _is_image(path) and not path.name.startswith("."))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and path.is_file()
