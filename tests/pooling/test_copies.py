"""A copy with other filters: it shares what it says it shares, and the original stays what it was."""

import copy
import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from helpers import seeded
from poolscope.networks import load_model, model_name, preprocessing
from poolscope.pooling.convolutions import convolutions
from poolscope.pooling.copies import with_filters

IMAGES = torch.randn(2, 3, 9, 9, generator=seeded(1))


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, bias=False), nn.Flatten(),
            nn.Linear(100, 2),
        )  # fmt: skip
    model[1].running_mean.add_(0.3)
    return model.eval()


def doubled(model: nn.Module, *names: str) -> dict[str, Tensor]:
    return {one.name: 2 * one.weight for one in convolutions(model) if one.name in names}


def snapshot(model: nn.Module) -> dict[str, object]:
    """Everything of a model that a copy could disturb: which objects, what values, which flags and hooks."""
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {
        "tensors": [(name, id(tensor), tensor.detach().clone().tolist()) for name, tensor in tensors],
        "grads": [(name, tensor.requires_grad, tensor.grad is None) for name, tensor in model.named_parameters()],
        "classes": [(name, id(module), type(module), module.training) for name, module in model.named_modules()],
        "properties": [sorted({"weight", "bias"} & set(vars(type(module)))) for module in model.modules()],
        "hooks": [(list(m._forward_hooks), list(m._forward_pre_hooks)) for m in model.modules()],
        "keys": list(model.state_dict()),
    }


@pytest.mark.parametrize("share", [False, True])
def test_a_copy_differs_in_the_filters_it_was_given_and_in_nothing_else(share: bool) -> None:
    model = network()
    model[3].weight.requires_grad_(False)
    model[0].train()
    before = snapshot(model)
    twin = with_filters(model, doubled(model, "3"), share=share)
    assert snapshot(model) == before
    own = dict(model.state_dict())
    for name, value in twin.state_dict().items():
        assert torch.equal(value, 2 * own[name] if name == "3.weight" else own[name])
    assert list(twin.state_dict()) == list(own)
    assert [module.training for module in twin.modules()] == [module.training for module in model.modules()]
    assert [p.requires_grad for p in twin.parameters()] == [p.requires_grad for p in model.parameters()]
    assert all(isinstance(parameter, nn.Parameter) for parameter in twin.parameters())
    assert not {id(module) for module in twin.modules()} & {id(module) for module in model.modules()}


def test_a_copy_is_independent_unless_it_shares() -> None:
    model = network()
    for share in (False, True):
        twin = with_filters(model, doubled(model, "0"), {"0": torch.zeros(4)}, share=share)
        own, others = dict(model.named_parameters()), dict(twin.named_parameters())
        shared = {name for name in own if others[name] is own[name]}
        assert shared == (set(own) - {"0.weight", "0.bias"} if share else set())
        places = {tensor.untyped_storage().data_ptr() for tensor in [*own.values(), *model.buffers()]}
        for name, tensor in [*twin.named_parameters(), *twin.named_buffers()]:
            assert (tensor.untyped_storage().data_ptr() in places) == (name in shared)
    twin = with_filters(model, doubled(model, "0"))
    before = snapshot(model)
    with torch.no_grad():
        for tensor in [*twin.parameters(), *twin.buffers()]:
            tensor.zero_()
    assert snapshot(model) == before


def test_given_filters_are_not_aliased() -> None:
    model = network()
    filters = {one.name: one.weight for one in convolutions(model)}  # the very weights of the model, detached
    bias = torch.zeros(4)
    twin = with_filters(model, filters, {"0": bias}, share=True)
    with torch.no_grad():
        twin[0].weight.zero_()
        twin[0].bias.add_(1)
    assert bool(model[0].weight.any())
    assert not bool(bias.any())


def test_sharing_allocates_the_replaced_filters_only() -> None:
    """VGG16 at its full size: 59 MB of filters beside 494 MB of linear layers."""
    with torch.device("meta"):  # no time spent on drawing weights
        model = load_model("torchvision:vgg16")
    model = model.to_empty(device="cpu")
    filters = doubled(model, *[one.name for one in convolutions(model)])
    wanted = sum(one.weight.nbytes for one in convolutions(model))
    total = sum(parameter.nbytes for parameter in model.parameters())
    twin = with_filters(model, filters, share=True)
    places = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    own = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in twin.parameters()}
    assert sum(size for place, size in own.items() if place not in places) == wanted
    assert wanted < 0.12 * total


def test_tied_convolutions_come_apart_where_one_is_replaced() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)).eval()
    for module in model[1:]:
        module.weight, module.bias = model[0].weight, model[0].bias
    for share in (False, True):
        twin = with_filters(model, doubled(model, "1"), share=share)
        assert torch.equal(twin[1].weight, 2 * model[0].weight)
        assert twin[0].weight is twin[2].weight
        assert twin[0].bias is twin[1].bias
        assert torch.equal(twin[0].weight, model[0].weight)
        assert (twin[0].weight is model[0].weight) == share
    assert model[0].weight is model[1].weight
    assert model[1].weight is model[2].weight


def test_a_module_that_is_called_twice_stays_one_module() -> None:
    part = nn.Conv2d(3, 3, 3)
    model = nn.Sequential(part, nn.ReLU(), part)
    twin = with_filters(model, doubled(model, "0"))
    assert twin[0] is twin[2]
    assert torch.equal(twin[0].weight, 2 * part.weight)


def plain(kind: Callable[[nn.Module], nn.Module]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(kind(nn.Conv2d(3, 4, 3)), nn.ReLU(), kind(nn.ConvTranspose2d(4, 4, 3, groups=2)))

    return make


def with_bias_too(module: nn.Module) -> nn.Module:
    parametrize.register_parametrization(parametrizations.weight_norm(module), "bias", nn.Tanh())
    return module


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize(
    "kind",
    [parametrizations.weight_norm, parametrizations.spectral_norm, parametrizations.orthogonal, with_bias_too],
)
def test_parametrised_convolutions(kind: Callable[[nn.Module], nn.Module], share: bool, training: bool) -> None:
    """copy.deepcopy leaves one class to both, and torch's own removal in the copy takes the original's weight away."""
    model = plain(kind)().train(training)
    before = snapshot(model)
    eager = copy.deepcopy(model).eval()
    expected = eager(IMAGES)
    filters = {one.name: one.weight for one in convolutions(model)}
    twin = with_filters(model, filters, share=share)
    assert snapshot(model) == before
    assert not parametrize.is_parametrized(twin[0], "weight")
    assert type(twin[0].weight) is nn.Parameter
    assert twin[0].weight.requires_grad
    torch.testing.assert_close(twin.eval()(IMAGES), expected)
    halved = with_filters(model, {"2": 0 * filters["2"]}, {"2": torch.ones(4)}, share=share).eval()
    assert parametrize.is_parametrized(halved[0], "weight")
    assert not parametrize.is_parametrized(halved[2])
    assert type(halved[2]) is nn.ConvTranspose2d
    torch.testing.assert_close(halved(IMAGES), torch.ones_like(expected), rtol=0, atol=0)
    again = copy.deepcopy(twin)
    torch.testing.assert_close(again(IMAGES), twin(IMAGES), rtol=0, atol=0)
    assert snapshot(model) == before
    torch.testing.assert_close(model.eval()(IMAGES), expected, rtol=0, atol=0)
    second = with_filters(model, filters, share=share).eval()
    torch.testing.assert_close(second(IMAGES), expected)


def test_a_frozen_parametrised_convolution_stays_frozen() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 4, 3))).requires_grad_(False)
    twin = with_filters(model, doubled(model, "0"), {"0": torch.zeros(4)})
    assert [parameter.requires_grad for parameter in twin.parameters()] == [False, False]


@pytest.mark.parametrize(
    "wrap",
    [nn.DataParallel, lambda model: torch.compile(model, backend="eager"), lambda m: nn.DataParallel(torch.compile(m))],
)
def test_of_a_wrapped_model_the_inner_one_is_copied(wrap: Callable[[nn.Module], nn.Module]) -> None:
    model = network()
    twin = with_filters(wrap(model), doubled(model, "0"))
    assert type(twin) is nn.Sequential
    assert torch.equal(twin[0].weight, 2 * model[0].weight)
    assert twin(IMAGES).shape == (2, 2)


def test_a_copy_goes_by_the_name_of_its_original() -> None:
    model = load_model("poolscope:minivgg", seed=0)
    twin = with_filters(model, doubled(model, "features.0"))
    assert model_name(twin) == model_name(model) == "poolscope:minivgg"
    assert preprocessing(twin) == preprocessing(model) is not None
    assert model_name(with_filters(network(), {})) == "Sequential"


def test_precision_and_memory_format_are_kept() -> None:
    for dtype in (torch.bfloat16, torch.float64):
        model = network().to(dtype).to(memory_format=torch.channels_last)
        twin = with_filters(model, doubled(model, "0", "3"))
        assert [p.dtype for p in twin.parameters()] == [p.dtype for p in model.parameters()]
        assert twin[0].weight.is_contiguous(memory_format=torch.channels_last)


class Locked(nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(3, 3, 3)
        self.lock = threading.Lock()


class Proud(nn.Conv2d):
    def __deepcopy__(self, memo: object) -> nn.Module:
        raise NameError


class Remembering(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        self.last = super().forward(x)
        return self.last


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Locked, r"TypeError: cannot pickle '_thread\.lock' object"),
        (lambda: Proud(3, 3, 3), "NameError: $"),
        (lambda: Remembering(3, 3, 3), "RuntimeError: Only Tensors created explicitly by the user"),
    ],
)
def test_a_model_that_cannot_be_copied_is_refused(make: Callable[[], nn.Module], reason: str) -> None:
    model = nn.Sequential(make())
    model(IMAGES)
    with pytest.raises(ValueError, match=f"the model must be one that copy.deepcopy can copy.*it raised {reason}"):
        with_filters(model, doubled(model, "0"))


def test_a_scripted_model_is_refused() -> None:
    scripted = torch.jit.script(network())
    with pytest.raises(TypeError, match="a scripted one hides its layers"):
        with_filters(scripted, {})
