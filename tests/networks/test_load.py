"""Models by name: the right network, in evaluation mode, drawn from the right randomness, and errors that help."""

import copy
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from poolscope._torchvision import import_timm, import_torchvision
from poolscope.networks import Preprocessing, load_model, model_name, preprocessing, write_weights


def first_convolution(model: nn.Module) -> nn.Conv2d:
    return next(module for module in model.modules() if isinstance(module, nn.Conv2d))


def assert_same_weights(model: nn.Module, expected: nn.Module) -> None:
    state = expected.state_dict()
    assert list(model.state_dict()) == list(state)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)


def test_models_come_in_evaluation_mode_under_their_name() -> None:
    for name in ("poolscope:minivgg", "torchvision:squeezenet1_1", "timm:test_resnet"):
        model = load_model(name)
        assert not any(module.training for module in model.modules())
        assert model_name(model) == name
    assert model_name(nn.Linear(2, 2)) == "Linear"


def test_without_a_seed_the_global_generator_is_used_as_by_the_constructor() -> None:
    timm, torchvision = import_timm(), import_torchvision()
    for name, construct in (
        ("torchvision:squeezenet1_1", lambda: torchvision.models.squeezenet1_1(weights=None)),
        ("timm:test_resnet", lambda: timm.create_model("test_resnet", pretrained=False)),
    ):
        torch.manual_seed(3)
        expected = construct()
        state = torch.get_rng_state()
        torch.manual_seed(3)
        model = load_model(name)
        assert torch.equal(torch.get_rng_state(), state)
        assert_same_weights(model, expected.eval())


@pytest.mark.parametrize("name", ["poolscope:minivgg", "torchvision:squeezenet1_1", "timm:test_resnet"])
def test_a_seed_fixes_the_weights_and_leaves_the_global_generator(name: str) -> None:
    before = torch.get_rng_state()
    model = load_model(name, seed=5, in_channels=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert_same_weights(load_model(name, seed=5, in_channels=1), model)
    other = first_convolution(load_model(name, seed=6, in_channels=1)).weight
    assert not torch.equal(other, first_convolution(model).weight)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_beyond_32_bits_are_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=rf"2\*\*32 - 1.*got {seed}"):
        load_model("poolscope:minivgg", seed=seed)


@pytest.mark.parametrize(
    ("name", "size"), [("poolscope:minivgg", 32), ("torchvision:mobilenet_v3_small", 64), ("timm:test_resnet", 64)]
)
def test_head_and_stem_take_the_shapes_asked_for(name: str, size: int) -> None:
    model = load_model(name, num_classes=7, in_channels=2)
    assert model(torch.zeros(2, 2, size, size)).shape == (2, 7)


def test_a_replaced_stem_is_like_the_one_it_replaces() -> None:
    original = import_torchvision().models.mobilenet_v3_small(weights=None).features[0][0]
    stem = first_convolution(load_model("torchvision:mobilenet_v3_small", in_channels=1))
    for attribute in ("out_channels", "kernel_size", "stride", "padding", "dilation", "bias", "padding_mode"):
        assert getattr(stem, attribute) == getattr(original, attribute)
    bound = 1 / 9**0.5  # of the uniform distribution of a default Conv2d with 1 * 3 * 3 inputs
    assert 0.9 * bound < stem.weight.abs().max() <= bound
    with pytest.raises(ValueError, match="starts with a Conv2d; VideoResNet has none"):
        load_model("torchvision:r3d_18", in_channels=1)


def test_random_weights_download_no_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object, **__: object) -> None:
        raise AssertionError("tried to download")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", download)
    monkeypatch.setattr(import_torchvision().models._api, "load_state_dict_from_url", download)
    load_model("torchvision:lraspp_mobilenet_v3_large")
    with pytest.raises(AssertionError, match="tried to download"):
        load_model("torchvision:lraspp_mobilenet_v3_large", weights="DEFAULT")


class _Leaves:
    """Something whose unpickling leaves a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (_touch, (str(self.path),))


def _touch(path: str) -> None:
    Path(path).touch()


def test_pretrained_weights_are_read_but_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    file.parent.mkdir(parents=True)
    model = load_model("torchvision:squeezenet1_1", seed=1)
    torch.save(model.state_dict(), file)
    again = load_model("torchvision:squeezenet1_1", weights="IMAGENET1K_V1")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    torch.save({**model.state_dict(), "more": _Leaves(tmp_path / "ran")}, file)
    with pytest.raises(ValueError, match=r"numbers only, and reading .*squeezenet1_1-b8a52dc0.pth would run code"):
        load_model("torchvision:squeezenet1_1", weights="IMAGENET1K_V1")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "resnet18",
            r"must be named.*got 'resnet18' \(did you mean poolscope:resnet18 or torchvision:resnet18 or timm:.*\?\)",
        ),
        ("torchvision:resnet19", r"got 'resnet19' \(did you mean .*torchvision:resnet18"),
        ("timm:resnt18", r"got 'resnt18' \(did you mean .*timm:resnet18"),
        ("timm:resnet18.a9_in1k", r"got 'resnet18.a9_in1k' \(did you mean .*timm:resnet18.a\d_in1k"),
        ("poolscope:vgg12", r"got 'vgg12' \(did you mean .*poolscope:vgg1\d"),
        ("torchvison:resnet18", r"trust_code=True.*--trust-code.*did you mean torchvision:"),
        ("", "must be named"),
    ],
)
def test_unknown_names_come_with_close_matches(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_model(name)
    if "trust_code" not in message:
        with pytest.raises(ValueError, match=message):
            preprocessing(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "torchvision:resnet18", "weights": "IMAGENET1K_V9"}, "DEFAULT, IMAGENET1K_V1; got 'IMAGENET1K_V9'"),
        ({"name": "timm:resnet18", "weights": "no_such"}, "DEFAULT, .*a1_in1k.*; got 'no_such'"),
        ({"name": "poolscope:vgg11", "weights": "DEFAULT"}, "must be a file, none are published; got 'DEFAULT'"),
        (
            {"name": "torchvision:resnet18", "weights": "DEFAULT", "num_classes": 7},
            "that of the pretrained weights, 1000; got 7",
        ),
        ({"name": "poolscope:vgg11", "in_channels": 0}, "in_channels must be at least 1; got 0"),
        ({"name": "poolscope:vgg11", "num_classes": 0}, "num_classes must be at least 1; got 0"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_model(**arguments)


class TestFactories:
    @pytest.fixture(autouse=True)
    def module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "my_factories.py").write_text(
            "import pathlib, torch\n"
            "pathlib.Path('ran').touch()\n"
            "def net(num_classes=4, bias=True):\n"
            "    return torch.nn.Sequential(torch.nn.Linear(3, num_classes, bias=bias))\n"
            "def number(): return 3\n"
            "class nested: net = staticmethod(net)\n"
            "model = net()\n"
        )
        (tmp_path / "my_broken.py").write_text("import no_such_dependency\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.delitem(sys.modules, "my_factories", raising=False)

    def test_code_runs_only_if_trusted(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"'my_factories:net' names a module.*--trust-code"):
            load_model("my_factories:net")
        assert preprocessing("my_factories:net") is None
        assert not (tmp_path / "ran").exists()
        path = list(sys.path)
        model = load_model("my_factories:net", trust_code=True, num_classes=5, bias=False)
        assert (tmp_path / "ran").exists()
        assert sys.path == path
        assert model[0].weight.shape == (5, 3)
        assert model[0].bias is None
        assert not model.training
        assert preprocessing(model) is None
        assert model_name(load_model("my_factories:nested.net", trust_code=True)) == "my_factories:nested.net"

    def test_weights_from_a_file(self, tmp_path: Path) -> None:
        model = load_model("my_factories:net", trust_code=True)
        write_weights(model, tmp_path / "w.safetensors")
        again = load_model("my_factories:net", trust_code=True, weights="w.safetensors")
        assert_same_weights(again, model)
        with pytest.raises(ValueError, match="a factory knows no names"):
            load_model("my_factories:net", trust_code=True, weights="DEFAULT")

    def test_failures_are_told_apart(self) -> None:
        for name, error, message in (
            ("my_factorys:net", ValueError, "found no 'my_factorys'"),
            ("my_factories:nett", ValueError, "must define 'nett'"),
            ("my_factories:number", TypeError, r"must return a torch.nn.Module; got a int"),
            ("my_factories:model", TypeError, "a function that returns a model; got a Sequential"),
            ("my_broken:net", ModuleNotFoundError, "no_such_dependency"),
        ):
            with pytest.raises(error, match=message):
                load_model(name, trust_code=True)


class TestPreprocessing:
    def test_torchvision(self) -> None:
        inception = preprocessing("torchvision:inception_v3")
        assert inception is not None
        assert (inception.size, inception.resize) == ((299, 299), (342, 342))
        assert preprocessing("torchvision:fasterrcnn_resnet50_fpn") is None
        assert preprocessing(load_model("torchvision:squeezenet1_1")) == preprocessing("torchvision:squeezenet1_1")

    def test_timm(self) -> None:
        model = load_model("timm:test_resnet")
        assert preprocessing(model) == preprocessing("timm:test_resnet")
        made_elsewhere = import_timm().create_model("test_resnet", pretrained=False)
        assert preprocessing(made_elsewhere) == preprocessing(model)
        small = preprocessing(load_model("timm:vit_tiny_patch16_224", img_size=32, num_classes=2))
        assert small is not None
        assert (small.size, small.resize) == ((32, 32), (35, 35))  # floor(32 / 0.9)

    def test_ours(self) -> None:
        cifar = Preprocessing((32, 32), (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), 3, resize=(32, 32))
        assert preprocessing("poolscope:vgg11") == cifar
        assert preprocessing(load_model("poolscope:minivgg")) == cifar
        grey = preprocessing(load_model("poolscope:minivgg", in_channels=1, padding=2))
        assert grey == Preprocessing((28, 28), None, None, 1, resize=(28, 28))

    def test_one_channel_takes_the_average_statistics(self) -> None:
        grey = preprocessing(load_model("torchvision:squeezenet1_1", in_channels=1))
        assert grey is not None
        assert grey.mean == pytest.approx(((0.485 + 0.456 + 0.406) / 3,))
        assert grey.std == pytest.approx(((0.229 + 0.224 + 0.225) / 3,))

    def test_unknown_models_have_none(self) -> None:
        assert preprocessing(nn.Linear(2, 2)) is None
        assert preprocessing(copy.deepcopy(load_model("poolscope:minivgg"))) is None
