"""A measured model is handed back as it came, on every way out."""

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from helpers import seeded
from poolscope import compare, measure, sweep
from poolscope.sensitivity.prepare import batch_statistics, borrowed, choose_device, reestimated

IMAGES = torch.rand(12, 3, 16, 16, generator=seeded(0))


class Trouble(nn.Module):
    """Raises at its n-th call, counts in a buffer, and draws random numbers it does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("cache", None)
        self.seen = 0
        self.raise_at: int | None = None
        self.error: type[BaseException] = RuntimeError

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        self.calls += 1
        self.cache = x.mean()
        if self.seen == 1:
            self.register_buffer("late", torch.zeros(1), persistent=False)
        torch.rand(3)
        np.random.rand(3)  # noqa: NPY002 - the global state is the point
        random.random()
        if self.seen == self.raise_at:
            raise self.error("in the middle of a forward")
        return x


def network() -> nn.Module:
    """Mixed modes, a frozen layer, gradients, hooks of the user's, shared weights, statistics."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        Trouble(),
        nn.Conv2d(4, 4, 3),
        nn.ReLU(),
        nn.Flatten(),
    )
    model.append(nn.Linear(576, 4))
    model.append(nn.Linear(4, 4))
    model[8].weight = model[8].weight
    shared = nn.Linear(4, 4, bias=False)
    shared.weight = model[8].weight
    model.append(shared)
    model(IMAGES).sum().backward()
    model.train()
    model[1].eval()
    model[4].weight.requires_grad_(False)
    model[4].register_forward_hook(lambda module, args, output: None)
    model[3].seen, model[3].calls = 0, torch.zeros((), dtype=torch.int64)
    model[3].cache = torch.ones(2)
    del model[3]._buffers["late"]
    return model


def state(model: nn.Module) -> dict[str, Any]:
    """Everything about a model and the random states that a measurement has no business to change."""
    found: dict[str, Any] = {}
    for name, module in model.named_modules():
        found[name, "training"] = module.training
        found[name, "hooks"] = [
            (kind, list(hooks.values()))
            for kind, hooks in vars(module).items()
            if kind.endswith("_hooks") and isinstance(hooks, dict)
        ]
        found[name, "own attributes"] = {
            key: value for key, value in vars(module).items() if key in ("forward", "momentum")
        }
        found[name, "buffers"] = {
            key: None if buffer is None else (id(buffer), buffer.data_ptr(), buffer.dtype, buffer.clone().tolist())
            for key, buffer in module._buffers.items()
        }
    for name, parameter in model.named_parameters(remove_duplicate=False):
        gradient = parameter.grad
        found[name, "parameter"] = (
            id(parameter), parameter.data_ptr(), parameter.dtype, parameter.stride(), parameter.requires_grad,
            parameter.tolist(), id(gradient), None if gradient is None else gradient.tolist(), parameter._version,
        )  # fmt: skip
    found["torch"] = torch.get_rng_state().tolist()
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    found["numpy"] = (kind, keys.tolist(), *rest)
    # Python's state has a test of its own: where annotations are checked, the checker draws from it.
    found["grad mode"] = torch.is_grad_enabled()
    return found


OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "float64": {"precision": "float64"},
    "bf16-mixed": {"precision": "bf16-mixed"},
    "channels_last": {"memory_format": "channels_last"},
    "channels_last float64": {"memory_format": "channels_last", "precision": "float64"},
    "batch": {"bn": "batch"},
    "reestimate float64": {"bn": "reestimate", "precision": "float64"},
    "all layers": {"layers": "all"},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_after_success(options: str) -> None:
    model = network()
    before = state(model)
    measure(model, IMAGES, batch_size=4, progress=False, **OPTIONS[options])
    assert model[3].seen > 0
    assert state(model) == before


# The survey makes three forwards; then come statistics, references, and the batches.
@pytest.mark.parametrize("call", [1, 3, 4, 6])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("options", OPTIONS)
def test_after_an_exception(options: str, error: type[BaseException], call: int) -> None:
    model = network()
    model[3].raise_at, model[3].error = call, error
    before = state(model)
    # While the model is being looked at, an exception of its own means that it cannot take these images.
    expected = ValueError if call <= 3 and error is RuntimeError else error
    with pytest.raises(expected, match="in the middle of a forward"):
        measure(model, IMAGES, batch_size=4, progress=False, **OPTIONS[options])
    assert model[3].seen == call
    assert state(model) == before


@pytest.mark.parametrize(
    "refused", [{"layers": ["unknown"]}, {"images": IMAGES[:1]}, {"images": IMAGES[:, :1]}, {"layers": "blocks"}]
)
def test_after_a_refusal(refused: dict[str, Any]) -> None:
    model = network()
    before = state(model)
    with pytest.raises(ValueError, match=r"must|needed"):
        measure(model, **{"images": IMAGES, "progress": False, "precision": "float64", **refused})
    assert state(model) == before


def test_after_compare_and_sweep() -> None:
    one, other = network(), network()
    before = state(one), state(other)
    compare(one, other, images=IMAGES, precision="float64", progress=False)
    sweep(one, IMAGES, displacement=[0.1, 0.2], progress=False)
    assert (state(one), state(other)) == before
    other[3].raise_at, other[3].error = other[3].seen + 4, KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        compare(one, other, images=IMAGES, bn="batch", progress=False)
    assert (state(one), state(other)) == before


class Augmented(Dataset):
    """Images that use up all global random states as they are read."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Tensor:
        torch.rand(1), np.random.rand(1), random.random()  # noqa: NPY002
        return IMAGES[index]


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        torch.rand(1), np.random.rand(1), random.random()  # noqa: NPY002
        return iter(IMAGES)


@pytest.mark.parametrize(
    "images",
    [Augmented(), DataLoader(Augmented(), batch_size=5), DataLoader(Stream(), batch_size=5)],
    ids=["dataset", "loader", "stream"],
)
def test_random_states_survive_the_reading_of_images(images: object) -> None:
    model = network()
    before = state(model)
    measure(model, images, progress=False)
    assert state(model) == before


def test_a_graph_made_before_can_be_walked_back_after() -> None:
    """Measuring between a forward and its backward changes neither the gradients nor their possibility."""
    for precision in ("float32", "float64"):
        model = network()
        model.zero_grad()
        twin = copy.deepcopy(model)
        loss = model(IMAGES).square().sum()
        measure(model, IMAGES, precision=precision, progress=False)
        loss.backward()
        twin(IMAGES).square().sum().backward()
        for (name, one), other in zip(model.named_parameters(), twin.parameters(), strict=True):
            if other.grad is None:
                assert one.grad is None
            else:
                torch.testing.assert_close(one.grad, other.grad, msg=name)


def test_evaluation_mode_device_and_dtype_inside() -> None:
    model = network()
    with borrowed(model, torch.device("cpu"), torch.float64, "channels_last"):
        assert not any(module.training for module in model.modules())
        assert all(parameter.dtype == torch.float64 for parameter in model.parameters())
        assert model[1].running_mean.dtype == torch.float64
        assert model[3].calls.dtype == torch.int64
        assert model[4].weight.is_contiguous(memory_format=torch.channels_last)
        assert model[9].weight is model[8].weight
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize("context", [lambda m: batch_statistics(m, [4]), lambda m: reestimated(m, iter([IMAGES]))])
@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_batch_norms_are_put_back(context: Callable[[nn.Module], Any], error: type[BaseException] | None) -> None:
    model = network().eval()

    def of_norm() -> dict[Any, Any]:
        return {key: value for key, value in state(model[1]).items() if isinstance(key, tuple)}

    with torch.no_grad():
        before = of_norm()
        try:
            with context(model):
                assert of_norm() != before
                if error is not None:
                    raise error
        except KeyboardInterrupt:
            pass
        assert of_norm() == before


def test_batch_norm_that_cannot_be_told_apart_is_refused() -> None:
    class Sliced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(16)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.norm(x[:1, 0]), self.norm(x[1:, 0])])

    with pytest.raises(ValueError, match=r"bn='batch' needs each batch norm's input to hold the 4 images"):
        measure(Sliced(), IMAGES, layers=["output"], bn="batch", batch_size=4, progress=False)


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_pythons_random_state_is_put_back(error: type[BaseException] | None) -> None:
    before = random.getstate()
    try:
        with borrowed(nn.ReLU(), torch.device("cpu"), torch.float32):
            random.random()
            assert random.getstate() != before
            if error is not None:
                raise error
    except (RuntimeError, KeyboardInterrupt):
        pass
    assert random.getstate() == before


def test_devices() -> None:
    model = nn.Linear(2, 2)
    assert choose_device("cpu", model) == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device("auto", model).type == expected
    assert choose_device("auto", nn.ReLU()).type == expected
    for unknown in ("tpu9", "cuda:99"):
        with pytest.raises(ValueError, match=f"device must exist here; got '{unknown}'"):
            choose_device(unknown, model)


def test_dynamo_is_not_imported_for_a_model_that_was_never_compiled() -> None:
    import subprocess
    import sys

    script = (
        "import sys, torch, poolscope\n"
        "poolscope.measure(torch.nn.ReLU(), torch.rand(4, 3, 16, 16), progress=False)\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
