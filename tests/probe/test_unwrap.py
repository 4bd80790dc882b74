"""Compiled and wrapped models are measured through the original; scripted ones are refused."""

import pandas as pd
import pytest
import torch
from torch import nn

from helpers import seeded
from poolscope import measure
from poolscope.probe import unwrap


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(8, 3, 16, 16, generator=seeded(0))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten())


def compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


def blocks_compiled(model: nn.Module) -> nn.Module:
    for block in model:
        block.compile(backend="eager")
    return model


WRAPPERS = {
    "torch.compile": lambda model: torch.compile(model, backend="eager"),
    "model.compile": compiled_in_place,
    "blocks compiled": blocks_compiled,
    "DataParallel": nn.DataParallel,
    "DataParallel of a compiled one": lambda model: nn.DataParallel(torch.compile(model, backend="eager")),
}


@pytest.mark.parametrize("ran_before", [False, True], ids=["fresh", "ran before"])
@pytest.mark.parametrize("how", WRAPPERS)
def test_wrapped_models_give_the_eager_table(how: str, ran_before: bool, images: torch.Tensor) -> None:
    expected = measure(network().eval(), images, layers="all", progress=False).table
    wrapped = WRAPPERS[how](network())
    if ran_before:  # compiled code that was made before the hooks came must not run under them
        with torch.no_grad():
            wrapped(images)
    table = measure(wrapped, images, layers="all", progress=False).table
    pd.testing.assert_frame_equal(table.drop(columns="model"), expected.drop(columns="model"), check_exact=True)
    assert set(table["layer"]) == {"input", "0", "1", "2", "3", "4", "output"}
    assert wrapped.training


def test_scripted_and_traced_models_are_refused(images: torch.Tensor) -> None:
    scripted = torch.jit.script(network())
    traced = torch.jit.trace(network(), images)
    for model in (scripted, traced):
        with pytest.raises(TypeError, match=r"must be an eager nn.Module, a scripted one hides its layers"):
            measure(model, images, progress=False)
    with pytest.raises(TypeError, match=r"must be eager throughout.*at '0'"):
        measure(nn.Sequential(scripted, nn.ReLU()), images, progress=False)


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module.*got function"):
        unwrap(lambda x: x)


def test_lazy_models_are_refused_untouched(images: torch.Tensor) -> None:
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU())
    with pytest.raises(ValueError, match=r"a lazy model must have seen an input.*'0\.weight' has none"):
        measure(model, images, progress=False)
    assert isinstance(model[0], nn.LazyConv2d)
