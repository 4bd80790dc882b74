"""Encoded images in Parquet files, as the Hugging Face hub publishes them, streamed by row group."""

import bisect
import contextlib
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolscope.datasets.source import Statistics, size_and_time

if TYPE_CHECKING:
    import PIL.Image

_IMAGE_NAMES = ("img", "image")
_LABEL_NAMES = ("label", "labels", "fine_label")


class Parquet:
    """Images of a Parquet file, or of the Parquet files in a folder in the order of their names.

    The images are a column of encoded bytes, plain or as a struct of ``bytes`` and ``path``, named ``img`` or
    ``image`` or the only such column. An integer column ``label``, ``labels`` or ``fine_label`` holds the labels (-1
    without). One row group is in memory at a time, so read in order; a shuffling reader decodes groups again and again.

    Args:
        path: file or folder.
        split: take only files whose name starts with it.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if there is no Parquet file (of this split), or one is damaged, empty or has no column of images.
    """

    statistics: Statistics | None = None

    def __init__(self, path: str | Path, split: str | None = None) -> None:
        path = Path(path).expanduser()
        self.name = f"parquet:{path}"
        self._split = split
        self._files = _find(path, split)
        self._image_column, self._label_column, self.classes = _columns(self._files[0])
        self._groups: list[tuple[Path, int]] = []
        sizes: list[int] = []
        for file in self._files:
            if _columns(file)[:2] != (self._image_column, self._label_column):
                raise ValueError(f"parquet: files must have the same columns; {file} differs from {self._files[0]}")
            metadata = _open(file).metadata
            self._groups += [(file, group) for group in range(metadata.num_row_groups)]
            sizes += [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._ends = list(itertools.accumulate(sizes))  # row number after the last of each group
        if not self._ends or not self._ends[-1]:
            raise ValueError(f"parquet: needs at least one row; {path} has none")
        self._held: tuple[int, list[Any], list[int] | None] | None = None  # number, images and labels of one group

    def __len__(self) -> int:
        return self._ends[-1]

    def picture(self, index: int) -> "tuple[PIL.Image.Image, int]":
        import PIL.Image

        group = bisect.bisect_right(self._ends, index)
        images, labels = self._group(group)
        row = index - (self._ends[group - 1] if group else 0)
        cell = images[row]
        encoded = cell.get("bytes") if isinstance(cell, dict) else cell
        where = f"row {index} of {self.name}"
        if encoded is None:
            raise ValueError(f"parquet: needs the encoded image in every row; {where} has none, or only a path")
        try:
            picture = PIL.Image.open(io.BytesIO(encoded))
            picture.load()
        except (OSError, SyntaxError, PIL.Image.DecompressionBombError) as error:
            raise ValueError(f"parquet: needs images that can be decoded; {where} cannot ({error})") from error
        return picture, -1 if labels is None else labels[row]

    def origin(self) -> dict[str, Any]:
        files = {file.name: file.stat().st_size for file in self._files}
        return {"split": self._split, "folder": str(self._files[0].resolve().parent), "bytes": files}

    def identity(self) -> dict[str, Any]:
        files = [[str(file.resolve()), *size_and_time(file)] for file in self._files]
        return {"parquet": files, "columns": [self._image_column, self._label_column]}

    def _group(self, number: int) -> tuple[list[Any], list[int] | None]:
        if self._held is None or self._held[0] != number:
            self._held = None  # let go of the last group before the next is read
            file, group = self._groups[number]
            columns = [self._image_column] + ([self._label_column] if self._label_column else [])
            rows = _read(file, group, columns)
            labels = None
            if self._label_column:
                labels = [-1 if label is None else label for label in rows[self._label_column]]
            self._held = (number, rows[self._image_column], labels)
        return self._held[1:]


def _find(path: Path, split: str | None) -> list[Path]:
    if not path.exists():
        raise FileNotFoundError(f"parquet: needs an existing file or folder; got {path}")
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    chosen = [file for file in files if split is None or file.name.startswith(split)]
    if not chosen:
        wanted = "*.parquet file" if split is None else f"*.parquet file whose name starts with {split!r}"
        names = ", ".join(file.name for file in files[:4]) or "none at all"
        raise ValueError(f"parquet: needs a {wanted}; {path} has {names}")
    return chosen


@contextlib.contextmanager
def _undamaged(file: Path) -> Iterator[None]:
    """Turn what pyarrow raises on damage into one line that names the file."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"parquet: needs an undamaged Parquet file; {file}: {reason}") from error


def _open(file: Path) -> Any:
    import pyarrow.parquet

    with _undamaged(file):
        return pyarrow.parquet.ParquetFile(file)


def _read(file: Path, group: int, columns: list[str]) -> dict[str, list[Any]]:
    """The named columns of one row group."""
    with _undamaged(file):
        opened = _open(file)
        rows: dict[str, list[Any]] = opened.read_row_group(group, columns=columns).to_pydict()
        promised = opened.metadata.row_group(group).num_rows
    if any(len(rows[name]) != promised for name in columns):
        raise ValueError(f"parquet: needs an undamaged Parquet file; {file}: row group {group} is not {promised} rows")
    return rows


def _columns(file: Path) -> tuple[str, str | None, tuple[str, ...] | None]:
    """The column of images, that of labels if any, and the names of the classes if the file has them."""
    import pyarrow.types as types

    with _undamaged(file):
        schema = _open(file).schema_arrow
        names = schema.names

    def is_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    def is_image(kind: Any) -> bool:
        if types.is_struct(kind):
            return any(kind.field(i).name == "bytes" and is_bytes(kind.field(i).type) for i in range(kind.num_fields))
        return is_bytes(kind)

    candidates = [field.name for field in schema if is_image(field.type)]
    named = [name for name in _IMAGE_NAMES if name in candidates]
    if not named and len(candidates) != 1:
        raise ValueError(
            f"parquet: needs a column of encoded images, named img or image or the only one; {file} has the columns "
            f"{', '.join(names)}, of which {len(candidates)} hold bytes"
        )
    integers = [field.name for field in schema if types.is_integer(field.type)]
    label = next((name for name in _LABEL_NAMES if name in integers), None)
    return (named or candidates)[0], label, _class_names(schema.metadata, label)


def _class_names(metadata: dict[bytes, bytes] | None, label: str | None) -> tuple[str, ...] | None:
    try:
        names = json.loads((metadata or {})[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return tuple(map(str, names)) if isinstance(names, list) else None
