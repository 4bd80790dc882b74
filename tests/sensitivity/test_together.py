"""Several models on the same perturbed images: as if each were alone, whatever runs out of memory on the way."""

import contextlib
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from helpers import seeded
from poolscope import Diffeomorphism, measure
from poolscope.probe import Layer
from poolscope.sensitivity.session import Session, make_settings
from poolscope.sensitivity.source import TensorSource
from poolscope.sensitivity.together import process_together

IMAGES = nn.functional.interpolate(
    torch.randn(40, 3, 4, 4, generator=seeded(7), dtype=torch.float64),
    size=(12, 12),
    mode="bicubic",
    align_corners=True,
)
OPTIONS: dict[str, Any] = {"deformation": Diffeomorphism(0.4, 3), "seed": 3, "precision": "float64"}
OUT_OF_MEMORY = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"


def network(seed: int) -> nn.Module:
    """Works in place on its input."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 5, 3), nn.ReLU(inplace=True), nn.Flatten()).eval()


@contextlib.contextmanager
def sessions(models: Sequence[nn.Module]) -> Iterator[list[Session]]:
    with contextlib.ExitStack() as stack:
        settings = make_settings(batch_size=10, **OPTIONS)
        yield [stack.enter_context(Session(model, TensorSource(IMAGES), settings)) for model in models]


def run(opened: list[Session]) -> tuple[list[pd.DataFrame], list[Tensor]]:
    """All tables, and every session's powers over all images."""
    parts = [process_together(opened, images, indices) for images, indices in opened[0].pieces()]
    tables = [session.result("network", "given").table for session in opened]
    return tables, [torch.cat(powers, dim=-1) for powers in zip(*parts, strict=True)]


def assert_as_if_alone(tables: list[pd.DataFrame], models: Sequence[nn.Module]) -> None:
    for table, model in zip(tables, models, strict=True):
        alone = measure(model, IMAGES, batch_size=10, name="network", progress=False, **OPTIONS).table
        assert (table["images"] == len(IMAGES)).all()
        # Sums in another order: a few units of the last place, more where differences of errors nearly cancel.
        pd.testing.assert_frame_equal(table, alone, rtol=1e-9, atol=1e-9)


def test_each_as_if_alone_and_powers_of_every_image() -> None:
    models = [network(0), network(1), network(2)]
    before = IMAGES.clone()
    with sessions(models) as opened:
        tables, powers = run(opened)
    assert_as_if_alone(tables, models)
    assert torch.equal(before, IMAGES)
    for table, own in zip(tables, powers, strict=True):
        assert own.shape == (len(table), 3, len(IMAGES))
        assert own.mean(dim=-1)[:, 0].tolist() == pytest.approx(table["deformation_power"].tolist(), rel=1e-12)
        assert own.mean(dim=-1)[:, 1].tolist() == pytest.approx(table["noise_power"].tolist(), rel=1e-12)


def test_images_are_perturbed_once_for_all() -> None:
    with sessions([network(0), network(1), network(2)]) as opened:
        made = []
        for session in opened:
            whole = session.stacked
            session.stacked = lambda *args, whole=whole: made.append(1) or whole(*args)  # type: ignore[method-assign]
        run(opened)
    assert len(made) == 4


@pytest.mark.parametrize("batch", [0, 2])
@pytest.mark.parametrize("broken", [0, 1, 2])
@pytest.mark.parametrize("when", ["before", "after"])
def test_out_of_memory_counts_every_image_once(broken: int, batch: int, when: str) -> None:
    """Once, before a forward or at its end, in the first, a middle, and the last session."""
    models = [network(0), network(1), network(2)]
    with sessions(models) as opened:
        session, calls = opened[broken], []
        whole = session.sums.process

        def fail(*_: object) -> None:
            raise RuntimeError(OUT_OF_MEMORY)

        def process(stack: Tensor) -> Tensor:
            calls.append(len(stack))
            if len(calls) == batch + 1:
                if when == "before":
                    fail()
                handle = models[broken][-1].register_forward_hook(fail)  # the other layers wait to be counted
                try:
                    return whole(stack)
                finally:
                    handle.remove()
            return whole(stack)

        session.sums.process = process  # type: ignore[method-assign]
        tables, _ = run(opened)
        assert calls == [30] * 5  # four batches of 10 images, three versions each, and one again
        assert [session.batch_size for session in opened] == [10] * 3
    assert_as_if_alone(tables, models)


class Limited(nn.Module):
    """A model that only takes so many at a time."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.model, self.most, self.sizes = network(1), most, []

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("tried to allocate")
        self.sizes.append(len(x))
        return self.model(x)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_model_without_room_goes_on_in_smaller_parts_alone(place: int) -> None:
    models: list[nn.Module] = [network(0), network(2)]
    limited = Limited(17)
    models.insert(place, limited)
    with sessions(models) as opened:
        tables, _ = run(opened)
        assert [session.batch_size for session in opened] == [5 if model is limited else 10 for model in models]
    assert set(limited.sizes[-8:]) == {15}
    assert_as_if_alone(tables, models)


def test_a_session_of_smaller_batches_is_not_given_the_large_one() -> None:
    models = [network(0), Limited(1000), network(2)]
    with sessions(models) as opened:
        opened[1].batch_size = 4
        models[1].sizes.clear()
        tables, _ = run(opened)
    assert max(models[1].sizes) <= 16  # the reference images, or three versions of 4
    assert_as_if_alone(tables, models)


def test_out_of_memory_while_images_are_perturbed() -> None:
    models = [network(0), network(1)]
    with sessions(models) as opened:
        whole, calls = opened[0].stacked, []

        def stacked(images: Tensor, indices: Tensor) -> Tensor:
            calls.append(len(images))
            if len(calls) == 1:
                raise RuntimeError(OUT_OF_MEMORY)
            return whole(images, indices)

        opened[0].stacked = stacked  # type: ignore[method-assign]
        tables, _ = run(opened)
    assert_as_if_alone(tables, models)


def test_what_a_failed_forward_held_is_free_before_the_next() -> None:
    """Or on a GPU the second try would find no more room than the first."""

    class Hungry(nn.Module):
        held: list[weakref.ref[Tensor]] = []  # noqa: RUF012
        armed = False

        def forward(self, x: Tensor) -> Tensor:
            large = x.clone()
            if self.armed:
                type(self).armed = False
                self.held.append(weakref.ref(large))
                raise torch.OutOfMemoryError("tried to allocate")
            assert all(reference() is None for reference in self.held)
            return large.flatten(1)

    with sessions([Hungry(), network(0)]) as opened:
        Hungry.armed = True
        tables, _ = run(opened)
    assert len(Hungry.held) == 1
    assert_as_if_alone(tables[1:], [network(0)])


@pytest.mark.parametrize("error", [RuntimeError("another reason"), KeyboardInterrupt(), ValueError("so")])
def test_other_errors_come_through_and_leave_models_and_random_state_as_they_were(error: BaseException) -> None:
    models = [network(0), network(1).train()]
    weights = [{name: value.clone() for name, value in model.state_dict().items()} for model in models]
    state = torch.get_rng_state()

    def fail(*_: object) -> None:
        handle.remove()  # once: a second try would succeed
        raise error

    counts: list[int] = []
    handle: Any = None

    def interrupted() -> None:
        nonlocal handle
        with sessions(models) as opened:
            process_together(opened, IMAGES[:10], torch.arange(10))
            handle = models[1][1].register_forward_hook(fail)
            try:
                process_together(opened, IMAGES[10:20], torch.arange(10, 20))
            finally:
                counts.extend(session.sums.moments.count for session in opened)

    with pytest.raises(type(error)):
        interrupted()
    assert counts == [20, 10]  # of the second, no half of a batch
    assert torch.equal(state, torch.get_rng_state())
    assert [model.training for model in models] == [False, True]
    for model, before in zip(models, weights, strict=True):
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
        assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name])


def test_images_of_another_shape_are_refused() -> None:
    rule = r"all images must have the shape of the first, \(3, 12, 12\); got \(3, 16, 16\)"
    with sessions([nn.AdaptiveAvgPool2d(2), nn.AdaptiveAvgPool2d(3)]) as opened:
        with pytest.raises(ValueError, match=rule):
            process_together(opened, torch.zeros(4, 3, 16, 16, dtype=torch.float64), torch.arange(4))
        with pytest.raises(ValueError, match=rule):
            opened[0].process(torch.zeros(4, 3, 16, 16, dtype=torch.float64), torch.arange(4))


# --- layers found by another session ---------------------------------------------------------------------------------


def test_given_layers_are_measured_without_looking() -> None:
    settings = make_settings(batch_size=10, **OPTIONS)
    model, forwards = network(1), []
    model[1].register_forward_hook(lambda *_: forwards.append(1))
    with Session(network(0), TensorSource(IMAGES), settings) as first:
        layers = first.layers
    with Session(model, TensorSource(IMAGES), settings, layers) as second:
        assert forwards == []
        for images, indices in second.pieces():
            second.process(images, indices)
        table = second.result("network", "given").table
    assert len(forwards) == 2 + 4  # 16 reference images, 10 at a time, and the four batches
    assert second.layers == layers
    assert second.layers is not layers
    assert_as_if_alone([table], [model])


def test_a_dead_network_is_measured_at_the_layers_of_a_living_one() -> None:
    """Rows that are all the same cannot be told from a batch axis that is not there, so they are not looked for."""

    class Pooled(nn.Module):
        def __init__(self, bias: float) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            nn.init.constant_(self.conv.bias, bias)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.conv(x)).mean(dim=(2, 3))

    settings = make_settings(batch_size=10, **OPTIONS)
    with Session(Pooled(0.0), TensorSource(IMAGES), settings) as living:
        layers: list[Layer] = living.layers
    with Session(Pooled(-100.0), TensorSource(IMAGES), settings, layers) as dead:
        for images, indices in dead.pieces():
            dead.process(images, indices)
        table = dead.result("dead", "given").table.set_index("layer")
    assert table.index.tolist() == ["input", *[layer.name for layer in layers]]
    assert table["R"].iloc[1:].isna().all()
    assert table["note"].iloc[1:].str.startswith("constant").all()
    assert table.loc["input", "R"] == pytest.approx(1)
