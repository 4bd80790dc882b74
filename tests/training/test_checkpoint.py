"""Checkpoints: two are kept, a damaged one is told of and the one before taken."""

import errno
from pathlib import Path

import pytest
import torch

from poolscope.training import checkpoint
from poolscope.training.checkpoint import Checkpoints


def filled(folder: Path, count: int, said: list[str] | None = None) -> Checkpoints:
    checkpoints = Checkpoints(folder, (said if said is not None else []).append)
    for number in range(count):
        checkpoints.write({"w": torch.full((50,), float(number))}, {"number": number})
    return checkpoints


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_the_newest_is_read_and_two_are_kept(tmp_path: Path) -> None:
    for count in range(1, 5):
        folder = tmp_path / str(count)
        checkpoints = filled(folder, count)
        tensors, facts = checkpoints.newest() or ({}, {})
        assert facts == {"number": count - 1}
        assert tensors["w"].eq(count - 1).all()
        assert [path.name for path in files(folder)] == [
            f"{number:08d}.safetensors" for number in range(max(0, count - 2), count)
        ]


def test_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    filled(tmp_path / "c", 3)
    again = Checkpoints(tmp_path / "c", print)
    again.write({}, {"number": "next"})
    assert [path.stem for path in files(tmp_path / "c")] == ["00000002", "00000003"]
    assert again.newest() == ({}, {"number": "next"})


@pytest.mark.parametrize("damage", ["cut", "emptied", "flipped", "not ours"])
def test_a_damaged_newest_falls_back_to_the_one_before_and_says_so(tmp_path: Path, damage: str) -> None:
    from safetensors.torch import save_file

    said: list[str] = []
    checkpoints = filled(tmp_path / "c", 3, said)

    def harm(path: Path) -> None:
        content = path.read_bytes()
        if damage == "not ours":
            save_file({"w": torch.ones(2)}, path)
        elif damage == "flipped":
            path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        else:
            path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")

    before, newest = files(tmp_path / "c")
    harm(newest)
    found = checkpoints.newest()
    assert found is not None
    assert found[1] == {"number": 1}
    assert len(said) == 1
    assert "a checkpoint is damaged and left out" in said[0]
    assert newest.name in said[0]
    assert files(tmp_path / "c") == [before]
    checkpoints.write({}, {"number": "next"})
    assert len(files(tmp_path / "c")) == 2
    for path in files(tmp_path / "c"):
        harm(path)
    assert checkpoints.newest() is None
    assert len(said) == 3


def test_a_full_disk_leaves_the_earlier_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = filled(tmp_path / "c", 2)
    before = {path.name: path.read_bytes() for path in files(tmp_path / "c")}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            checkpoints.write({}, {"number": 2})
    assert {path.name: path.read_bytes() for path in files(tmp_path / "c")} == before


def test_the_old_one_goes_only_when_the_new_one_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = filled(tmp_path / "c", 2)
    there = []

    def watched(path: Path, *_: object) -> None:
        there.append([each.stem for each in files(tmp_path / "c")])
        path.write_bytes(b"")

    monkeypatch.setattr(checkpoint, "write_sealed", watched)
    checkpoints.write({}, {})
    assert there == [["00000000", "00000001"]]
    assert [each.stem for each in files(tmp_path / "c")] == ["00000001", "00000002"]


def test_nothing_is_made_before_something_is_written(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", print)
    assert checkpoints.newest() is None
    checkpoints.remove()
    assert files(tmp_path) == []
    checkpoints.write({}, {"a": 1})
    (tmp_path / "c" / "notes.safetensors").write_bytes(b"")  # no number
    assert checkpoints.newest() == ({}, {"a": 1})
    (tmp_path / "c" / "notes.safetensors").unlink()
    checkpoints.remove()
    assert files(tmp_path) == []
