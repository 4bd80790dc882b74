"""Weights on disk: exact round trips, no half files, no code run, and errors that say which tensor."""

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from poolscope.networks import VGG, load_model, read_weights, write_weights


class RunsCode:
    """An object whose unpickling makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def mini(**options: object) -> nn.Module:
    return load_model("poolscope:vgg11_bn", width=0.0625, **options)


def assert_same(state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(state) == set(expected)  # safetensors sorts them its own way
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, rtol=0, atol=0)


def test_round_trip_is_exact(tmp_path: Path) -> None:
    model = mini(seed=1)
    path = tmp_path / "weights.safetensors"
    write_weights(model, path)
    assert_same(read_weights(path), model.state_dict())
    assert_same(mini(seed=2, weights=path).state_dict(), model.state_dict())
    assert_same(mini(seed=2, weights=str(path)).state_dict(), model.state_dict())
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]


def test_shared_and_strided_tensors_are_written(tmp_path: Path) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    write_weights({"a": base, "b": base, "c": base.T}, tmp_path / "w.safetensors")
    assert_same(read_weights(tmp_path / "w.safetensors"), {"a": base, "b": base, "c": base.T})


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    write_weights({"a": torch.zeros(3)}, path)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_weights({"a": torch.ones(3)}, path)
    assert_same(read_weights(path), {"a": torch.zeros(3)})
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
def test_checkpoints_are_unwrapped(tmp_path: Path, wrapper: str | None) -> None:
    state = {"module.a": torch.randn(2), "module.b.c": torch.randn(3)}
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 3}, tmp_path / "w.pt")
    assert_same(read_weights(tmp_path / "w.pt"), {"a": state["module.a"], "b.c": state["module.b.c"]})


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, suffix: str) -> None:
    path, made = tmp_path / f"w{suffix}", tmp_path / "made"
    torch.save({"a": torch.zeros(1), "b": RunsCode(made)}, path)
    with pytest.raises(ValueError, match=r"tensors only.*can run code.*refused"):
        mini(weights=path)
    assert not made.exists()
    torch.load(path, weights_only=False)
    assert made.exists()  # it would have


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", None])
def test_damaged_files_are_refused(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is None:  # half a good file
        (write_weights if path.suffix == ".safetensors" else torch.save)({"a": torch.zeros(100)}, path)
        content = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(content)
    with pytest.raises(ValueError, match="undamaged"):
        read_weights(path)


def test_other_contents_are_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"names to tensors.*holds a list"):
        read_weights(tmp_path / "list.pt")
    torch.save({"a": torch.zeros(1), "lr": 0.1}, tmp_path / "number.pt")
    with pytest.raises(ValueError, match="'lr': float"):
        read_weights(tmp_path / "number.pt")
    (tmp_path / "w.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"must end in .*got .*w\.bin"):
        read_weights(tmp_path / "w.bin")
    with pytest.raises(FileNotFoundError, match="existing file"):
        read_weights(tmp_path / "absent.pt")
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        write_weights(VGG(11, width=0.1), tmp_path / "w.pt")
    with pytest.raises(FileNotFoundError, match=r"the folder of .* must exist"):
        write_weights(VGG(11, width=0.1), tmp_path / "absent" / "w.safetensors")


def test_the_first_mismatch_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(mini(in_channels=1), path)
    with pytest.raises(ValueError, match=r"features\.0\.weight needs \(4, 3, 3, 3\), .* has \(4, 1, 3, 3\)"):
        mini(weights=path)
    state = mini().state_dict()
    write_weights({name: value for name, value in state.items() if name != "classifier.bias"}, path)
    with pytest.raises(ValueError, match=r"lacks 1, first classifier\.bias"):
        mini(weights=path)
    write_weights({**state, "extra": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"1 more, first extra"):
        mini(weights=path)
