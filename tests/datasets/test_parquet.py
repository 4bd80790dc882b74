"""Parquet files of encoded images: written here with pyarrow, and the real ones where they are."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from poolscope.datasets import load_images, open_images

PIXELS = np.random.default_rng(0).integers(0, 256, (11, 5, 6, 3), dtype=np.uint8)
IMAGES = torch.tensor(PIXELS / 255, dtype=torch.float32).permute(0, 3, 1, 2)
LABELS = [index % 3 for index in range(11)]


def encode(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


ENCODED = [encode(pixels) for pixels in PIXELS]
STRUCTS = [{"bytes": encoded, "path": f"{index}.png"} for index, encoded in enumerate(ENCODED)]


def write(path: Path, columns: dict[str, Any], *, metadata: dict[str, str] | None = None, rows: int = 4) -> str:
    table = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(table, path, row_group_size=rows)
    return f"parquet:{path}"


def check(spec: str, images: torch.Tensor = IMAGES, labels: list[int] = LABELS, **arguments: Any) -> None:
    found, found_labels = load_images(spec, with_labels=True, **arguments)
    torch.testing.assert_close(found, images, rtol=0, atol=1e-7)
    assert found_labels.tolist() == labels


@pytest.mark.parametrize(
    "columns",
    [
        {"img": STRUCTS, "label": LABELS},
        {"label": LABELS, "image": ENCODED},
        {"id": LABELS[::-1], "picture": ENCODED, "labels": LABELS},
        {"thumbnail": ENCODED[::-1], "image": STRUCTS, "fine_label": pa.array(LABELS, pa.uint8())},
        {"image": pa.array(ENCODED, pa.large_binary()), "label": LABELS},
    ],
)
@pytest.mark.parametrize("rows", [1, 4, 11])
def test_the_column_of_images_and_that_of_labels_are_found(tmp_path: Path, columns: dict[str, Any], rows: int) -> None:
    check(write(tmp_path / "a.parquet", columns, rows=rows))


def test_images_without_labels(tmp_path: Path) -> None:
    check(write(tmp_path / "a.parquet", {"image": ENCODED, "id": LABELS}), labels=[-1] * 11)
    check(write(tmp_path / "b.parquet", {"image": ENCODED[:2], "label": [1, None]}), IMAGES[:2], [1, -1])


def test_a_folder_is_read_in_the_order_of_names_and_by_split(tmp_path: Path) -> None:
    write(tmp_path / "train-00001.parquet", {"image": ENCODED[5:8], "label": LABELS[5:8]}, rows=2)
    write(tmp_path / "train-00000.parquet", {"image": ENCODED[:5], "label": LABELS[:5]}, rows=2)
    write(tmp_path / "test-00000.parquet", {"image": ENCODED[8:], "label": LABELS[8:]}, rows=2)
    (tmp_path / "README.md").touch()
    spec = f"parquet:{tmp_path}"
    check(spec, IMAGES[:8], LABELS[:8], split="train")
    check(spec, IMAGES[8:], LABELS[8:], split="test")
    check(spec, torch.cat([IMAGES[8:], IMAGES[:8]]), LABELS[8:] + LABELS[:8])
    assert list(open_images(spec, split="train").description()["bytes"]) == [
        "train-00000.parquet",
        "train-00001.parquet",
    ]
    with pytest.raises(ValueError, match=r"name starts with 'val'; .* has test-00000\.parquet, train-00000"):
        open_images(spec, split="val")
    with pytest.raises(ValueError, match="name starts with 'test'"):
        open_images(f"{spec}/train-00000.parquet", split="test")


def test_any_order_gives_the_same_images_and_holds_one_row_group(tmp_path: Path) -> None:
    dataset = open_images(write(tmp_path / "a.parquet", {"image": ENCODED, "label": LABELS}, rows=3))
    for index in (10, 0, 5, 4, 9, -11, 2):
        image, label = dataset[index]
        torch.testing.assert_close(image, IMAGES[index], rtol=0, atol=1e-7)
        assert label == LABELS[index]
        assert len(dataset._source._held[1]) <= 3


def test_reading_in_order_reads_every_row_group_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = write(tmp_path / "a.parquet", {"image": ENCODED}, rows=3)
    read: list[int] = []
    original = pq.ParquetFile.read_row_group

    def counted(self: pq.ParquetFile, group: int, **arguments: Any) -> Any:
        read.append(group)
        return original(self, group, **arguments)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    load_images(spec)
    assert read == [0, 1, 2, 3]


def test_names_of_classes_come_from_the_metadata(tmp_path: Path) -> None:
    features = {"label": {"names": ["cat", "dog", "eel"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    columns = {"image": ENCODED, "label": LABELS}
    assert open_images(write(tmp_path / "a.parquet", columns, metadata=metadata)).classes == ("cat", "dog", "eel")
    for useless in (None, {"huggingface": "{"}, {"huggingface": "[]"}):
        assert open_images(write(tmp_path / "a.parquet", columns, metadata=useless)).classes is None


def test_files_that_do_not_hold_images_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with pytest.raises(FileNotFoundError, match="existing file or folder"):
        open_images(f"parquet:{path}")
    with pytest.raises(ValueError, match=r"needs a \*\.parquet file; .* has none at all"):
        open_images(f"parquet:{tmp_path}")
    for columns, rule in (
        ({"label": LABELS, "text": ["x"] * 11}, "columns label, text, of which 0 hold bytes"),
        ({"a": ENCODED, "b": ENCODED}, "columns a, b, of which 2 hold bytes"),
        ({"image": pa.array([], pa.binary())}, "at least one row"),
        ({"image": [{"bytes": None, "path": "x.png"}, STRUCTS[0]]}, "row 0 .* has none, or only a path"),
        ({"image": [b"not an image"]}, r"can be decoded; row 0 of .*a\.parquet cannot"),
    ):
        with pytest.raises(ValueError, match=rule):
            open_images(write(path, columns))
    write(path, {"image": ENCODED})
    write(tmp_path / "b.parquet", {"img": ENCODED})
    with pytest.raises(ValueError, match=r"same columns; .*b\.parquet differs from .*a\.parquet"):
        open_images(f"parquet:{tmp_path}")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    spec = write(path, {"image": ENCODED})
    good = path.read_bytes()
    for damaged in (b"", b"not parquet", good[: len(good) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"undamaged Parquet file; .*a\.parquet"):
            open_images(spec)
    path.write_bytes(good[:4] + bytes(len(good) // 2) + good[4 + len(good) // 2 :])  # the index is whole, the data not
    with pytest.raises(ValueError, match=r"parquet: needs (an undamaged|images that)"):
        load_images(spec)


def test_cifar10_as_published_on_the_hub(shared_data: Path) -> None:
    spec = f"parquet:{shared_data / 'cifar10-jpeg'}"
    images, labels = load_images(spec, split="test", with_labels=True, normalize="cifar10", count=2000)
    assert len(open_images(spec, split="test")) == 10_000
    assert len(open_images(spec)) == 60_000
    assert images.shape == (2000, 3, 32, 32)
    assert set(labels.tolist()) == set(range(10))
    # The published statistics are those of the training set, so a sample has mean 0 and mean square about 1.5
    # (0.2023 and so on are means of per-image deviations: the pixels' own are about 0.247, a factor 1.22).
    assert images.mean((0, 2, 3)).abs().max() < 0.05
    assert images.std((0, 2, 3)).sub(1.22).abs().max() < 0.1


def test_photographs_of_many_shapes(shared_data: Path) -> None:
    spec = f"parquet:{shared_data / 'imagenet-sample'}"
    with pytest.raises(ValueError, match="one size, or size="):
        load_images(spec, count=20)
    images, labels = load_images(spec, count=8, for_model="torchvision:squeezenet1_1", with_labels=True)
    assert images.shape == (8, 3, 224, 224)
    assert labels.min() >= 0
    assert labels.max() < 1000


def test_whatever_byte_is_damaged_the_error_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    write(tmp_path / "whole.parquet", {"img": STRUCTS, "label": LABELS})
    whole = (tmp_path / "whole.parquet").read_bytes()
    random = np.random.default_rng(0)
    damaged = tmp_path / "damaged.parquet"
    messages = []
    damaged.write_bytes(whole.replace(b"label", b"\xffabel"))  # no UTF-8
    with pytest.raises(ValueError, match=rf"^parquet: needs an undamaged Parquet file; {damaged}: .*decode"):
        load_images(f"parquet:{damaged}")
    told = []
    for place in (place for place in range(len(whole) - 2000, len(whole)) if whole[place] == 8):  # 4 rows as a varint
        damaged.write_bytes(whole[:place] + b"\x0a" + whole[place + 1 :])  # 5 rows
        try:
            load_images(f"parquet:{damaged}")
        except ValueError as error:
            told.append(str(error))
    assert sum("is not 5 rows" in message for message in told) == 2  # both row groups of 4
    for place in random.integers(len(whole) - 900, len(whole), 400).tolist():  # the footer: all that says what is where
        altered = bytearray(whole)
        altered[place] ^= int(random.integers(1, 256))
        damaged.write_bytes(altered)
        try:
            load_images(f"parquet:{damaged}")
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 100
    for message in messages + told:
        assert message.startswith("parquet: needs")
        assert "damaged.parquet" in message
        assert "\n" not in message
