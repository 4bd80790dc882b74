"""How long a job will take, about: counted from its settings, in times measured on one machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.machine_speed import slowness
from poolscope.studies.reproduce.network_cost import NetworkCost, network_cost
from poolscope.tasks import PREFIX, parse
from poolscope.training.simple.experiment import Experiment

# Seconds on one core of the machine of `machine_speed`, fitted (least squares of the ratio) to 80 finished trainings
# and 9 measurements at the scales smoke and laptop, and to 50 measurements of their networks. Of the 63 runs at laptop
# scale all then come out between 0.45 and 2.2 times what they took, and their sum (100 minutes) between 1.0 and 1.1.
_UNKNOWN = 30.0  # a kind of work that is none of these; a guess
_OTHERS = {"pictures": 0.3, "pretrained": 600.0}
_START = 0.6  # of a training: its data, its network, a rehearsal
_PRODUCT = 2.7e-11  # a multiply-add forward
_NUMBER = 1.1e-9  # a number that a layer puts out, forward
_BACK = 3  # times the forward: forward and backward
_LAYER = 2.5e-4  # a layer in a step
_PARAMETER = 8.4e-9  # a parameter in a step
_PIXEL = 2.8e-9  # a number of an image, cut, mirrored and normalised
_NOISE = 6.7e-9  # a number of an image, with noise
_LOOK = 0.3  # of measuring: opening data and network
_LOOK_LAYER = 1.2e-3  # a layer, each time a network is measured
_LOOK_PRODUCT = 2e-10  # a multiply-add of an image measured: three forwards
_LOOK_NUMBER = 2.2e-9  # a number that a layer puts out, for its sensitivities
_LOOK_PIXEL = 6e-9  # a number of an image, deformed and with noise
_SIMPLE_START, _SIMPLE_LAYER, _SIMPLE_PRODUCT, _SIMPLE_NUMBER = 2.4, 3.7e-6, 1.24e-10, 1.27e-8
_WHOLE_START, _WHOLE_LAYER, _WHOLE_PRODUCT, _WHOLE_NUMBER = 1.8, 0.1, 2e-9, 4.8e-7

#: What ends trainings depends on chance: these are typical.
_ZERO_LOSS = 30  # epochs until the training loss on scale detection is 0
_INTERPOLATION = {"relu": 55, "swish": 45, "linear": 55, "tanh": 600}  # epochs of simple CNNs on task 1
_INTERPOLATION_TASK_2 = 40
_WIDE = 32  # channels; narrower simple CNNs take longer

_GPU = 30  # times as fast as a core; a guess, not measured


def job_seconds(job: Job) -> float:
    """Return the seconds that a job takes on one core of this machine, or on its GPU, about.

    The sum over many jobs is meant to be within a factor of 2, a single one within 3, on a CPU. How many epochs a
    training takes that ends when its loss is 0 is chance, and a typical number is taken. A job whose settings cannot be
    read, which will fail, counts as one of an unknown kind.
    """
    try:
        seconds = _seconds(job)
    except (ValueError, TypeError, KeyError, RuntimeError):
        seconds = _UNKNOWN
    return seconds / _GPU if job.device == "cuda" else seconds * slowness()


def _seconds(job: Job) -> float:
    if job.work == "train":
        return _training(job.settings)
    if job.work == "simple":
        return _simple(job.settings)
    for needed in job.needs.values():  # what else there is measures networks
        if needed.work == "simple":
            return _simple_measured(needed.settings)
        if needed.work == "train":
            return _looked_at(job, needed.settings)
    return _OTHERS.get(job.work, _UNKNOWN)


def _training(settings: Mapping[str, Any]) -> float:
    train, validation, test = _numbers(settings)
    recipe, cost, pixels = settings["recipe"], _cost(settings), math.prod(_size(settings))
    epochs = int(min(recipe["epochs"], _ZERO_LOSS) if recipe["stop_at_zero_loss"] else recipe["epochs"])
    learned, judged = epochs * train, (epochs + 1) * (validation + test)
    forwards = _BACK * learned + judged
    steps = epochs * math.ceil(train / recipe["batch_size"])
    noise = _NOISE if settings.get("eta") else 0.0
    how: Mapping[str, Any] = settings.get("measure") or {}
    times = len(settings.get("measure_at") or ()) * len(how.get("displacement") or (1,))
    seconds: float = (
        _START
        + forwards * (_PRODUCT * cost.products + _NUMBER * cost.numbers)
        + steps * (_LAYER * cost.layers + _PARAMETER * cost.parameters)
        + (learned + judged) * (_PIXEL + noise) * pixels
        + times * _look(cost, how.get("images", 500), pixels)
    )
    return seconds


def _look(cost: NetworkCost, images: int, pixels: int) -> float:
    """Return the seconds of one measurement of D, G and R in one network."""
    one = _LOOK_PRODUCT * cost.products + _LOOK_NUMBER * cost.numbers + _LOOK_PIXEL * pixels
    return _LOOK_LAYER * cost.layers + images * one


def _looked_at(job: Job, network: Mapping[str, Any]) -> float:
    """Return the seconds of work that measures a network in all combinations of what its settings list."""
    settings = dict(job.settings)
    settings.pop("layers", None)
    if _on_task(network):
        settings.pop("displacement", None)
        settings.pop("cutoff", None)
    times = math.prod(len(each) for each in settings.values() if isinstance(each, list))
    if "draws" in settings:  # shuffled, as it is, and initial
        times *= settings["draws"] + 2
    return _LOOK + times * _look(_cost(network), settings.get("images", 500), math.prod(_size(network)))


def _simple(settings: Mapping[str, Any]) -> float:
    experiment = Experiment.model_validate(settings["experiment"])
    task = _task(experiment.task)
    typical = _INTERPOLATION_TASK_2 if task.number == 2 else _INTERPOLATION[experiment.activation]
    interpolation = min(experiment.give_up, typical * max(1.0, _WIDE / experiment.channels))
    epochs: float = min(experiment.most_epochs, max(1.0, experiment.multiple) * interpolation)
    steps = epochs * (task.train // experiment.batch_size)
    products, numbers = _simple_cost(experiment)
    one = experiment.batch_size * (_SIMPLE_PRODUCT * products + _SIMPLE_NUMBER * numbers)
    return _SIMPLE_START + steps * (_SIMPLE_LAYER * experiment.depth + len(settings["seeds"]) * one)


def _simple_measured(networks: Mapping[str, Any]) -> float:
    """Return the seconds of work that measures simple CNNs on their whole task."""
    experiment = Experiment.model_validate(networks["experiment"])
    products, numbers = _simple_cost(experiment)
    pairs = _task(experiment.task).pairs
    one = _WHOLE_LAYER * experiment.depth + pairs * (_WHOLE_PRODUCT * products + _WHOLE_NUMBER * numbers)
    return _WHOLE_START + len(networks["seeds"]) * one


def _simple_cost(experiment: Experiment) -> tuple[int, int]:
    """Return multiply-adds and numbers put out by the layers of a simple CNN, for one image."""
    shape = _task(experiment.task).shape
    products = numbers = 0
    inputs, places = 1, math.prod(shape)
    for _ in range(experiment.depth):
        places //= experiment.stride ** len(shape)
        numbers += places * experiment.channels
        products += places * experiment.channels * inputs * experiment.filter_size ** len(shape)
        inputs = experiment.channels
    return products, numbers


@dataclass(frozen=True)
class _Task:
    """A scale-detection task by its numbers.

    Attributes:
        number: 1 or 2.
        shape: of an image, in pixels.
        pairs: there are.
        train, test: pairs to learn from and to test on.
    """

    number: int
    shape: tuple[int, ...]
    pairs: int
    train: int
    test: int


@lru_cache(maxsize=64)
def _task(spec: str) -> _Task:
    task, split = parse(spec)
    train, test = (len(part) for part in split.of(task)) if split is not None else (0, 0)
    return _Task(task.task, tuple(task.shape[1:]), len(task.pairs), train, test)


def _on_task(settings: Mapping[str, Any]) -> bool:
    return str(settings["data"]["spec"]).startswith(PREFIX)


def _numbers(settings: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return the numbers of images to learn from, to choose the epoch by, and to test on."""
    spec = settings["data"]["spec"]
    if _on_task(settings):
        train, test = _task(spec).train, _task(spec).test
    else:
        train, test = (1437, 360) if spec.startswith("digits") else (50_000, 10_000)
    number, validation = settings.get("train_images"), settings.get("validation")
    if validation is None:
        validation = (number or train) // 10
    held_out = validation if isinstance(validation, int) else 0  # "test": judged once
    return number or train - held_out, held_out, test


def _size(settings: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return channels, height and width of the images."""
    spec = settings["data"]["spec"]
    if _on_task(settings):
        return 1, _task(spec).shape[-2], _task(spec).shape[-1]
    side = settings.get("size") or 32
    return (1, side, side) if spec.startswith("digits") else (3, side, side)


def _cost(settings: Mapping[str, Any]) -> NetworkCost:
    size = _size(settings)
    outputs = 1 if settings["recipe"]["loss"] == "hinge" else 10
    options = {"num_classes": outputs, "in_channels": size[0], **(settings.get("options") or {})}
    return network_cost(settings["model"], size, **options)
