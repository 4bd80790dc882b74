"""What is caught: values as they were produced, whatever the model overwrites later."""

import copy
from dataclasses import dataclass

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers import seeded
from poolscope import measure
from poolscope._torchvision import import_torchvision
from poolscope.probe import Watcher, first_tensor, tensors_in

import_torchvision()
from torchvision import models  # noqa: E402


def without_inplace(model: nn.Module) -> nn.Module:
    model = copy.deepcopy(model)
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return model


BUILD = {
    "vgg16": (lambda: models.vgg16(init_weights=False, num_classes=10), 32),
    "resnet18": (lambda: models.resnet18(num_classes=10), 32),
    "mobilenet_v3_small": (lambda: models.mobilenet_v3_small(num_classes=10), 32),
}


@pytest.fixture(scope="module", params=BUILD)
def model_and_images(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    build, size = BUILD[request.param]
    torch.manual_seed(1)
    return build().eval(), torch.rand(4, 3, size, size, generator=seeded(0))


def test_representations_are_those_of_a_copy_without_inplace(model_and_images, representations, hooked) -> None:
    model, images = model_and_images
    caught = representations(model, images, "all")
    expected = hooked(without_inplace(model), images)
    for name, values in caught.items():
        if name == "input":
            assert torch.equal(values, images.flatten(1))
            continue
        torch.testing.assert_close(values, expected[name], rtol=0, atol=0, msg=name)
    assert len(caught) > 20


def test_without_a_copy_inplace_spoils_what_was_caught(model_and_images, hooked) -> None:
    """The comparison above can fail: reading after the forward, as a careless probe would, gives other values."""
    model, images = model_and_images
    expected = hooked(without_inplace(model), images)
    kept: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(lambda module, args, output, name=name: kept.setdefault(name, output))
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))
    ]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    assert any(not torch.equal(value.flatten(1), expected[name]) for name, value in kept.items())


def test_tables_are_those_of_a_copy_without_inplace(model_and_images) -> None:
    model, images = model_and_images
    tables = [measure(each, images, layers="all", progress=False).table for each in (model, without_inplace(model))]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


class Overwriting(nn.Module):
    """Overwrites its input, a function's result, and a module's result."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.sub_(0.5)
        y = self.conv(x)
        z = F.relu(y)
        z += 100
        y *= 0
        return z


def test_what_is_overwritten_was_caught_before(representations) -> None:
    torch.manual_seed(0)
    model = Overwriting()
    images = torch.rand(3, 3, 8, 8, generator=seeded(0))
    before = images.clone()
    caught = representations(model, images, ["conv", "relu", "output"])
    assert torch.equal(images, before)  # the user's images, which the model would have shifted
    with torch.no_grad():
        conv = model.conv(images - 0.5)
    torch.testing.assert_close(caught["input"], images.flatten(1), rtol=0, atol=0)
    torch.testing.assert_close(caught["conv"], conv.flatten(1), rtol=0, atol=0)
    torch.testing.assert_close(caught["relu"], conv.relu().flatten(1), rtol=0, atol=0)
    torch.testing.assert_close(caught["output"], conv.relu().flatten(1) + 100, rtol=0, atol=0)


class Functions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu_()
        x = self.conv(x)
        x = x * torch.sigmoid(x)
        x = torch.tanh(self.conv(x))
        return F.gelu(x)


def test_functions_and_repeated_modules_by_hand(representations) -> None:
    torch.manual_seed(0)
    model = Functions()
    images = torch.randn(3, 3, 8, 8, generator=seeded(0))
    caught = representations(model, images, "all")
    with torch.no_grad():
        first = model.conv(images)
        second = model.conv(first.relu())
        third = model.conv(second * torch.sigmoid(second))
    expected = {
        "input": images,
        "conv": first,
        "relu": first.relu(),
        "conv#2": second,
        "silu": second * torch.sigmoid(second),
        "conv#3": third,
        "tanh": third.tanh(),
        "gelu": F.gelu(third.tanh()),
        "output": F.gelu(third.tanh()),
    }
    assert list(caught) == list(expected)
    for name, values in expected.items():
        torch.testing.assert_close(caught[name], values.flatten(1), rtol=0, atol=0, msg=name)


@dataclass
class Answer:
    logits: Tensor
    maps: list[Tensor]
    label: int = 0


class Structured(nn.Module):
    """Returns a tuple from a block and, as told, a tuple, dict or data class from itself."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3)

        def forward(self, x: Tensor) -> tuple[None, Tensor, Tensor]:
            y = self.conv(x)
            return None, y, -y

    def __init__(self, how: str) -> None:
        super().__init__()
        self.block = self.Block()
        self.how = how

    def forward(self, x: Tensor) -> object:
        _, y, z = self.block(x)
        if self.how == "tuple":
            return y, (z.sum(dim=(2, 3)), y.argmax(dim=1))
        if self.how == "dict":
            return {"maps": y, "logits": z.sum(dim=(2, 3))}
        return Answer(z.sum(dim=(2, 3)), [y])


@pytest.mark.parametrize(
    ("how", "maps", "logits"),
    [
        ("tuple", "output[0]", "output[1][0]"),
        ("dict", "output['maps']", "output['logits']"),
        ("dataclass", "output.maps[0]", "output.logits"),
    ],
)
def test_structured_outputs(how: str, maps: str, logits: str, representations) -> None:
    torch.manual_seed(0)
    model = Structured(how)
    images = torch.rand(3, 3, 8, 8, generator=seeded(0))
    caught = representations(model, images, "all")
    with torch.no_grad():
        y = model.block.conv(images)
    assert set(caught) == {"input", "block.conv", maps, logits}
    torch.testing.assert_close(caught[maps], y.flatten(1), rtol=0, atol=0)
    torch.testing.assert_close(caught[logits], -y.sum(dim=(2, 3)), rtol=0, atol=0)
    torch.testing.assert_close(representations(model, images, ["block"])["block"], y.flatten(1), rtol=0, atol=0)


def test_tensors_in_a_nest() -> None:
    one, two, three = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    nest = {"a": [one, torch.zeros(1, dtype=torch.int64), None], "b": Answer(two, [three])}
    found = [(path, tensor.numel()) for path, tensor in tensors_in(nest)]
    assert found == [("['a'][0]", 1), ("['b'].logits", 2), ("['b'].maps[0]", 3)]
    assert first_tensor(nest) is one
    assert first_tensor([torch.zeros(1, dtype=torch.bool), "text"]) is None


def test_hooks_are_gone_and_only_forward_is_reported() -> None:
    """Calls around the watcher go unreported, so that models can share modules while both are watched."""
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
    seen: list[str] = []
    watcher = Watcher(model, lambda name, value, source: seen.append(name))
    images = torch.rand(2, 3, 8, 8)
    with watcher.watching():
        model(images)
        assert seen == []
        watcher.forward(images)
        assert seen == ["0", "1.relu", "1"]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    watcher.forward(images)
    assert "0" not in seen[3:]


def test_a_users_hook_on_a_module_comes_first(representations) -> None:
    """Theirs may replace what the module returns; ours sees what the rest of the model sees."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten())
    model[0].register_forward_hook(lambda module, args, output: output + 1)
    images = torch.rand(2, 3, 8, 8)
    caught = representations(model, images, "all")
    assert torch.equal(caught["0"], caught["1"])


class Failing(nn.Module):
    """A branch that fails inside a module and is caught by the model."""

    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.branch, self.last = nn.Conv2d(3, 3, 3), self.Branch(), nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        try:
            x = self.branch(x)
        except NotImplementedError:
            x = F.relu(self.last(x))
        return F.relu(x)


def test_a_branch_that_fails_and_is_caught_does_not_lose_layers(representations) -> None:
    caught = representations(Failing(), torch.rand(2, 3, 8, 8), "activations")
    assert len(caught) == 1 + 3 + 1  # the input, three nonlinearities whatever they are called, the output
