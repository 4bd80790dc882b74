"""Sealed files: what was put in comes out bit for bit, and no byte can change unnoticed."""

import math
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from helpers import seeded
from poolscope._sealed import read_sealed, write_sealed


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    base = torch.randn(2, 3, 4, 5, generator=seeded(0))
    return {
        "float32": base,
        "channels last": base.contiguous(memory_format=torch.channels_last),
        "view": base[:, 1:, ::2],
        "same memory": base,
        "float64": base.double(),
        "bfloat16": base.bfloat16(),
        "special": torch.tensor([0.0, -0.0, math.nan, math.inf, -math.inf, 1e-45]),
        "int64": torch.tensor([-(2**63), 2**63 - 1]),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }


def test_everything_comes_back_bit_for_bit(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    facts = {"epoch": 3, "row": {"loss": 0.1 + 0.2, "none": None}, "texts": ["ä", "b\n"], "nan": math.inf}
    write_sealed(tmp_path / "a.safetensors", tensors, facts)
    found, read = read_sealed(tmp_path / "a.safetensors")
    assert read == facts
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype, name
        assert found[name].shape == value.shape, name
        same = [each.detach().contiguous().reshape(-1).view(torch.uint8) for each in (found[name], value)]
        assert torch.equal(*same), name
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_change_of_any_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_sealed(path, {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(7)}, {"a": 1})
    content = path.read_bytes()
    for position in range(len(content)):
        for flip in (0x01, 0x20, 0x80):
            path.write_bytes(content[:position] + bytes([content[position] ^ flip]) + content[position + 1 :])
            try:
                read_sealed(path)
            except ValueError as error:
                assert "a.safetensors must be" in str(error)  # noqa: PT017
                continue
            pytest.fail(f"byte {position} of {len(content)}, {content[position : position + 1]!r}, ^ {flip}")


def test_a_file_cut_short_or_with_more_behind_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_sealed(path, {"w": torch.arange(4.0)}, {"a": 1})
    content = path.read_bytes()
    for length in (0, 1, 8, 20, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="undamaged safetensors file"):
            read_sealed(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match="undamaged safetensors file"):
        read_sealed(path)


def test_names_and_shapes_are_part_of_the_hash(tmp_path: Path) -> None:
    from safetensors import safe_open

    path = tmp_path / "a.safetensors"
    write_sealed(path, {"w": torch.arange(4.0), "v": torch.arange(4.0)}, {"a": 1})
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    for other in (
        {"w": torch.arange(4.0)},
        {"w": torch.arange(4.0), "u": torch.arange(4.0)},
        {"w": torch.arange(4.0).view(2, 2), "v": torch.arange(4.0)},
        {"w": torch.arange(4.0).view(torch.int32), "v": torch.arange(4.0)},
    ):
        save_file(other, path, metadata=metadata)
        with pytest.raises(ValueError, match="does not have the hash noted in it"):
            read_sealed(path)


def test_files_of_others_have_no_facts(tmp_path: Path) -> None:
    save_file({"w": torch.arange(3.0)}, tmp_path / "a.safetensors", metadata={"format": "pt"})
    tensors, facts = read_sealed(tmp_path / "a.safetensors")
    assert facts == {}
    assert tensors["w"].tolist() == [0, 1, 2]
    with pytest.raises(FileNotFoundError, match=r"there must be such a file; got .*b\.safetensors"):
        read_sealed(tmp_path / "b.safetensors")


def test_what_cannot_be_written_leaves_the_file_before_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    write_sealed(path, {"w": torch.zeros(2)}, {"a": 1})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_sealed(path, {"w": torch.ones(2)}, {"a": object()})

    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fails)
            with pytest.raises(OSError, match="Input/output error"):
                write_sealed(path, {"w": torch.ones(2)}, {"a": 2})
        assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]
        assert path.read_bytes() == before
    with pytest.raises(FileNotFoundError, match="the folder of b must exist"):
        write_sealed(tmp_path / "none" / "b", {"w": torch.ones(2)}, {})


def test_what_is_written_does_not_follow_the_tensor_afterwards(tmp_path: Path) -> None:
    value = torch.zeros(3)
    write_sealed(tmp_path / "a.safetensors", {"w": value}, {"a": 1})
    value.fill_(1)
    found, _ = read_sealed(tmp_path / "a.safetensors")
    assert found["w"].tolist() == [0, 0, 0]
    write_sealed(tmp_path / "a.safetensors", {"w": value}, {"a": 1})  # while what was read is still in use
    assert found["w"].tolist() == [0, 0, 0]
