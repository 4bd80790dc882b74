"""Estimates against what runs take, and what they are made of against hand counts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from poolscope.studies.reproduce import machine_speed
from poolscope.studies.reproduce.catalogue.networks import (
    IMAGE_NETWORKS,
    SIMPLE_NETWORKS,
    VGGS,
    ImageNetworks,
    image_network,
    simple_networks,
    vgg,
)
from poolscope.studies.reproduce.estimate import job_seconds
from poolscope.studies.reproduce.execute import execute, missing
from poolscope.studies.reproduce.executors import make_executor
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.machine_speed import slowness
from poolscope.studies.reproduce.network_cost import NetworkCost, network_cost
from poolscope.studies.reproduce.store import Store
from poolscope.studies.reproduce.study import Sources
from poolscope.studies.reproduce.work.measured import measured
from poolscope.studies.reproduce.work.pooled import pooled
from poolscope.studies.reproduce.work.training import training

TASK = "scale-detection:task=1,dim=2,length=32,scale=14,gap=2,train=64,test=64"


def on_task(**changes: int) -> Job:
    """Return a training on the task, which needs no data."""
    recipe = {"epochs": 10, "stop_at_zero_loss": False, **changes}
    return training("poolscope:lenet", Sources(""), data=TASK, recipe="scale-detection", changes=recipe)


def test_lenet_is_counted_as_by_hand() -> None:
    """Source: LeCun et al. 1998, figure 2, with three input channels and 32 pixels."""
    convolutions = 28 * 28 * 6 * (5 * 5 * 3), 10 * 10 * 16 * (5 * 5 * 6)
    linear = 16 * 5 * 5 * 120, 120 * 84, 84 * 10
    numbers = 2 * 28 * 28 * 6 + 14 * 14 * 6 + 2 * 10 * 10 * 16 + 5 * 5 * 16 + 2 * 120 + 2 * 84 + 10
    found = network_cost("poolscope:lenet", (3, 32, 32), num_classes=10, in_channels=3)
    parameters = (75 + 1) * 6 + (150 + 1) * 16 + 401 * 120 + 121 * 84 + 85 * 10
    assert found == NetworkCost(sum(convolutions) + sum(linear), numbers, 11, parameters)


def test_a_slower_machine_is_told_from_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    slowness.cache_clear()
    here = slowness()
    assert 0.02 < here < 50
    assert slowness() == here, "measured once"
    before = job_seconds(on_task())
    tries = iter([9.0, 2 * here * machine_speed._REFERENCE, *[9.0] * 998])
    monkeypatch.setattr(machine_speed, "_seconds", lambda: next(tries))
    slowness.cache_clear()
    assert slowness() == pytest.approx(2 * here)
    assert job_seconds(on_task()) == pytest.approx(2 * before)
    slowness.cache_clear()


def test_more_work_takes_longer_in_proportion() -> None:
    one, ten = (job_seconds(on_task(epochs=epochs)) for epochs in (1000, 10_000))
    assert ten / one == pytest.approx(10, rel=0.05)
    assert job_seconds(replace(on_task(), device="cuda")) < job_seconds(on_task())
    few, many = (job_seconds(measured(on_task(), images=images)) for images in (10_000, 100_000))
    assert many / few == pytest.approx(10, rel=0.1)
    settings = SIMPLE_NETWORKS["laptop"].model_copy(update={"most_epochs": 10**9})
    short, long = (
        job_seconds(simple_networks(settings.model_copy(update={"multiple": multiple}), Sources(""), "task1")[0])
        for multiple in (100.0, 1000.0)
    )
    assert long / short == pytest.approx(10, rel=0.1)


def test_what_cannot_be_known_still_has_a_number() -> None:
    unknown = job_seconds(Job("something", 1, {}))
    assert unknown == pytest.approx(30 * slowness())
    assert job_seconds(replace(on_task(), settings={**on_task().settings, "model": "poolscope:none"})) == unknown
    assert job_seconds(measured(Job("something", 1, {}))) == unknown


def deep() -> list[Job]:
    """Return a run whose time does not count, since it imports and reads what all use, and some that do."""
    sources = Sources("digits")
    images, network = ImageNetworks(**IMAGE_NETWORKS["smoke"]), vgg(VGGS["smoke"], sources, 0)
    return [
        network,
        image_network(images, sources, "lenet", 0, eta=10.0),
        measured(network, displacement=(0.4, 0.8), images=50),
        pooled(network, displacement=(0.8,), images=50, draws=3),
    ]


def simple() -> list[Job]:
    """Return the same of simple CNNs."""
    settings, sources = SIMPLE_NETWORKS["smoke"], Sources("digits")
    return [job for which in ("task2", "task1", "swish") for job in simple_networks(settings, sources, which)]


@pytest.mark.parametrize("jobs", [deep, pytest.param(simple, marks=pytest.mark.slow)])
def test_a_plan_takes_what_is_said(jobs: Callable[[], list[Job]], tmp_path: Path) -> None:
    """Some runs at the smallest scale, in a worker, by the processor's time: others at work do not change it much."""
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn, an extra")
    first, *others = jobs()
    store, executor = Store(tmp_path), make_executor("local", tmp_path, cores=1)
    left = missing([first, *others], store)
    assert not execute(left, store, executor, seconds=lambda job: float(job is first), say=lambda text: None)
    assert missing([first, *others], store) == {}
    told = {job.key: job_seconds(job) for job in others}
    taken = {job.key: store.done(job.key)["cpu_seconds"] for job in others}
    ratios = {key: round(told[key] / taken[key], 2) for key in told}
    assert 1 / 2 < sum(told.values()) / sum(taken.values()) < 2, (taken, ratios)
    assert 1 / 4 < min(ratios.values()) <= max(ratios.values()) < 4, (taken, ratios)
