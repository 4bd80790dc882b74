"""Weights files that say which network they are of: built again bit for bit, or refused with a reason."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from poolscope._torchvision import import_torchvision
from poolscope.networks import (
    Preprocessing,
    load_model,
    model_name,
    preprocessing,
    read_weights,
    weights_facts,
    write_weights,
)

MINE = Preprocessing((32, 32), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 3, resize=(36, 36), interpolation="bicubic")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "best.safetensors"


def lenet(**options: object) -> nn.Module:
    return load_model("poolscope:lenet", width=0.5, **{"seed": 1, **options})


def test_every_network_comes_back_bit_for_bit(
    family: str,
    small: Callable[..., nn.Module],
    settle: Callable[[nn.Module, Tensor], nn.Module],
    path: Path,
) -> None:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    model = settle(small(family), images).float()
    write_weights(model, path)
    before = torch.get_rng_state()
    again = load_model(str(path))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(again(images), model(images))
    assert not again.training
    assert model_name(again) == f"poolscope:{family}"
    assert preprocessing(again) == preprocessing(model) == preprocessing(path) == preprocessing(str(path))


@pytest.mark.parametrize("name", ["torchvision:squeezenet1_1", "timm:test_resnet"])
def test_so_do_the_libraries_networks(name: str, path: Path) -> None:
    model = load_model(name, num_classes=3, in_channels=2, seed=0)
    write_weights(model, path)
    again = load_model(path)
    images = torch.randn(2, 2, 64, 64)
    assert torch.equal(again(images), model(images))
    assert preprocessing(again) == preprocessing(model)
    assert model_name(again).startswith(name)


def test_options_and_facts_are_in_the_file(path: Path) -> None:
    model = load_model("poolscope:vgg11_bn", in_channels=1, width=0.0625, padding=2, activation="swish", beta=0.5)
    write_weights(model, path, facts={"data": {"mean": [0.5], "std": [0.25]}, "epoch": 3})
    facts = weights_facts(path)
    assert facts["model"] == {
        "name": "poolscope:vgg11_bn",
        "num_classes": 10,
        "in_channels": 1,
        "options": {"width": 0.0625, "padding": 2, "activation": "swish", "beta": 0.5},
    }
    size = [28, 28]
    assert facts["preprocessing"] == {
        "size": size,
        "mean": None,
        "std": None,
        "channels": 1,
        "resize": size,
        "interpolation": "bilinear",
        "crop": "center",
    }
    assert (facts["data"], facts["epoch"]) == ({"mean": [0.5], "std": [0.25]}, 3)
    with safe_open(path, framework="pt") as file:  # as others see it
        assert json.loads(file.metadata()["poolscope"]) == facts
    images = torch.randn(2, 1, 28, 28)
    assert torch.equal(load_model(path)(images), model(images))


def test_preprocessing_of_the_run_goes_before_the_networks_own(path: Path) -> None:
    write_weights(lenet(), path, preprocessing=MINE)
    assert preprocessing(load_model(path)) == MINE
    assert preprocessing(path) == MINE


def test_another_state_of_the_same_network(path: Path) -> None:
    model, other = lenet(), lenet(seed=2)
    write_weights(model, path, state=other.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(load_model(path)(images), other(images))
    with pytest.raises(ValueError, match="state must be left out"):
        write_weights(other.state_dict(), path, state=other.state_dict())


def test_a_file_of_a_file_says_the_same(path: Path, tmp_path: Path) -> None:
    write_weights(lenet(activation="gelu"), path, preprocessing=MINE)
    write_weights(load_model(path), tmp_path / "again.safetensors")
    assert weights_facts(tmp_path / "again.safetensors") == weights_facts(path)


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel, lambda model: nn.DataParallel(torch.compile(model))])
def test_wrapped_networks_are_written_as_what_they_wrap(wrap: Callable[[nn.Module], nn.Module], path: Path) -> None:
    model = lenet()
    write_weights(wrap(model), path)
    assert list(read_weights(path)) == sorted(model.state_dict())
    assert model_name(load_model(path)) == "poolscope:lenet"
    write_weights(wrap(model).state_dict(), path)  # names as the wrappers have them
    assert set(read_weights(path)) == set(model.state_dict())


def test_weights_still_load_into_a_named_network(path: Path) -> None:
    write_weights(lenet(), path)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(lenet(seed=5, weights=path)(images), lenet()(images))


def damage_value(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def damage_facts(content: bytes) -> bytes:
    return content.replace(b"poolscope:lenet", b"poolscope:lenot")


def cut(content: bytes) -> bytes:
    return content[:-100]


@pytest.mark.parametrize("damage", [damage_value, damage_facts, cut])
def test_damaged_files_are_refused(damage: Callable[[bytes], bytes], path: Path) -> None:
    write_weights(lenet(), path)
    content = path.read_bytes()
    assert damage(content) != content
    path.write_bytes(damage(content))
    for read in (load_model, read_weights, weights_facts, lambda file: lenet(weights=file)):
        with pytest.raises(ValueError, match=r"best\.safetensors must be (as it was written|an undamaged)") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_files_that_do_not_say_their_network(path: Path) -> None:
    for write in (
        lambda: save_file(lenet().state_dict(), path),
        lambda: write_weights(lenet().state_dict(), path),
        lambda: write_weights(nn.Linear(2, 2), path),
        lambda: write_weights(lenet().state_dict(), path, facts={"model": "lenet"}),
    ):
        write()
        with pytest.raises(ValueError, match=r"must say which network.*name the network, and pass weights='.*best"):
            load_model(path)
    assert preprocessing(path) is None
    save_file(lenet().state_dict(), path)
    assert weights_facts(path) == {}
    lenet(weights=path)


def test_a_state_can_be_told_its_network(path: Path, tmp_path: Path) -> None:
    write_weights(lenet(), path)
    noted = weights_facts(path)
    write_weights(lenet(seed=2).state_dict(), tmp_path / "other.safetensors", facts=noted)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(load_model(tmp_path / "other.safetensors")(images), lenet(seed=2)(images))


def test_arguments_must_agree_with_the_file(path: Path) -> None:
    write_weights(lenet(num_classes=7), path)
    assert load_model(path, num_classes=7, in_channels=3, seed=4)(torch.zeros(1, 3, 32, 32)).shape == (1, 7)
    for arguments, message in (
        ({"num_classes": 10}, "num_classes must be that of the network in .*, 7; got 10"),
        ({"in_channels": 1}, "in_channels must be that of the network in .*, 3; got 1"),
        ({"weights": path}, "weights must be left out"),
        ({"width": 0.25}, "options must be left out.*got width"),
    ):
        with pytest.raises(ValueError, match=message):
            load_model(path, **arguments)
    with pytest.raises(FileNotFoundError, match=r"existing file; got .*absent\.safetensors"):
        load_model("runs/absent.safetensors")


def test_facts_are_checked_before_anything_is_written(path: Path) -> None:
    with pytest.raises(ValueError, match="known of the model already; got model, preprocessing"):
        write_weights(lenet(), path, facts={"preprocessing": {}, "model": {}})
    with pytest.raises(TypeError, match=r"JSON's types.*Tensor"):
        write_weights(lenet(), path, facts={"loss": torch.zeros(1)})
    assert not path.exists()
    write_weights(
        lenet().state_dict(), path, facts={"model": {"name": "poolscope:lenet"}, "preprocessing": {"eyes": 2}}
    )
    with pytest.raises(ValueError, match="must have this version's entries"):
        preprocessing(path)


def test_code_of_a_factory_runs_only_if_trusted(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_factory.py").write_text(
        "import pathlib, torch\n"
        "pathlib.Path('ran').touch()\n"
        "def net(num_classes=4, bias=True): return torch.nn.Linear(3, num_classes, bias=bias)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_factory", raising=False)
    model = load_model("my_factory:net", trust_code=True, num_classes=2, bias=False)
    write_weights(model, path)
    (tmp_path / "ran").unlink()
    monkeypatch.delitem(sys.modules, "my_factory")
    with pytest.raises(ValueError, match=r"'my_factory:net' names a module.*trust_code=True"):
        load_model(path)
    assert not (tmp_path / "ran").exists()
    again = load_model(path, trust_code=True)
    assert torch.equal(again.weight, model.weight)
    assert (again.bias, preprocessing(again), model_name(again)) == (None, None, "my_factory:net")


def test_options_no_file_can_hold(path: Path) -> None:
    made = load_model("torchvision:resnet18", norm_layer=nn.Identity, num_classes=2)
    write_weights(made, path)
    assert weights_facts(path)["model"]["unwritten"] == ["norm_layer"]
    with pytest.raises(ValueError, match=r"cannot hold all of its options; norm_layer of torchvision:resnet18"):
        load_model(path)


def test_what_pretrained_weights_change_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = import_torchvision().models
    state = models.googlenet(weights=None, init_weights=False).state_dict()
    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", lambda *_, **__: state)
    model = load_model("torchvision:googlenet", weights="DEFAULT")
    assert (model.transform_input, model.aux1) == (True, None)  # neither is so without weights
    write_weights(model, path)
    monkeypatch.undo()
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(load_model(path)(images), model(images))


def test_a_file_leads_to_no_other_weights(path: Path, tmp_path: Path) -> None:
    model = load_model("timm:test_resnet", seed=0)
    write_weights(model, path)
    facts = weights_facts(path)
    facts["model"]["options"]["checkpoint_path"] = str(tmp_path / "absent.pth")
    write_weights(model.state_dict(), path, facts=facts)
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(load_model(path)(images), model(images))
