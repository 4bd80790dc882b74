"""The trained networks that several studies look at: on images, on the task in two dimensions, and simple CNNs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from poolscope.studies.reproduce.claim import AMPLITUDES
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import Scale, Settings, Sources
from poolscope.studies.reproduce.work.simple import simple, simple_measured
from poolscope.studies.reproduce.work.training import training

#: The digits are 32 pixels wide too: displacements are the same at every scale.
DISPLACEMENTS = AMPLITUDES

#: Recipes by scale: with batch norm, without, fully connected.
_RECIPES: dict[str, dict[str, str]] = {
    "images": {"laptop": "laptop", "paper": "cifar-sgd"},
    "plain": {"laptop": "laptop-plain", "paper": "cifar-sgd"},
    "connected": {"laptop": "laptop-fc", "paper": "cifar-adam-fc"},
}


#: Times the epochs for networks whose epochs cost least: all trainings then take at most about the same time.
_LIGHT = {"fullconn": 4, "lenet": 2, "alexnet": 2}


class ImageNetworks(Settings):
    """Networks trained on CIFAR-10, as the paper's figures 1, 3, 4, C3, C4, C5 and C7 have them.

    Attributes:
        budget: whose recipes: "laptop" or "paper".
        networks: their names.
        width: of the convolutional ones' channels, relative to the published.
        narrow: the same for ResNets, which cost most.
        seeds: one independent run each.
        train_images: learn from so many, or all.
        epochs: of the recipe, unless it is the paper's; networks that cost less get more, as `_LIGHT` says.
        measured: test images for D, G, R.
        validation: training images to choose the epoch by, or "test", as the authors do.
    """

    budget: Literal["laptop", "paper"] = "laptop"
    networks: tuple[str, ...] = Field(min_length=1)
    width: float = Field(gt=0)
    narrow: float = Field(gt=0)
    seeds: tuple[int, ...] = Field(min_length=1)
    train_images: int | None = None
    epochs: int = Field(ge=1)
    measured: int = Field(ge=2)
    validation: int | Literal["test"]


IMAGE_NETWORKS: dict[Scale, dict[str, Any]] = {
    "smoke": {
        "networks": ("fullconn2", "lenet", "vgg11_bn", "vgg11"), "width": 0.0625, "narrow": 0.0625, "seeds": (0,),
        "train_images": 300, "epochs": 2, "measured": 50, "validation": 100,
    },
    "laptop": {
        "networks": ("fullconn2", "fullconn4", "fullconn6", "lenet", "alexnet", "vgg11", "vgg11_bn", "resnet18"),
        "width": 0.25, "narrow": 0.125, "seeds": (0, 1), "train_images": 16000, "epochs": 5, "measured": 500,
        "validation": 2000,
    },
    "paper": {
        "budget": "paper",
        "networks": (
            "fullconn2", "fullconn4", "fullconn6", "lenet", "alexnet", "vgg11", "vgg11_bn", "vgg16_bn", "vgg19_bn",
            "resnet18", "resnet34", "resnet50", "efficientnet_b0",
        ),
        "width": 1.0, "narrow": 1.0, "seeds": (0, 1, 2, 3, 4), "train_images": None, "epochs": 250, "measured": 500,
        "validation": "test",
    },
}  # fmt: skip


def image_network(
    settings: ImageNetworks, sources: Sources, name: str, seed: int, *, eta: float = 0.0, **changes: Any
) -> Job:
    """Return the job that trains a network on the images.

    Args:
        settings: how.
        sources: where images are.
        name: of the network, such as "vgg11_bn".
        seed: of the run.
        eta: norm of noise on the images.
        changes: other values of ``settings``' fields, for this network.
    """
    settings = settings.model_copy(update=changes)
    connected, deep = name.startswith("fullconn"), name.startswith(("resnet", "efficientnet"))
    kind = "connected" if connected else "plain" if name in ("alexnet", "vgg11", "vgg16", "vgg19") else "images"
    epochs = settings.epochs * next((times for light, times in _LIGHT.items() if name.startswith(light)), 1)
    options: dict[str, Any] = {}
    if not connected and name != "lenet":
        width = settings.narrow if deep else settings.width
        options = {"width": width} if width != 1 else {}
    recipe: dict[str, Any] = {} if settings.budget == "paper" else {"epochs": epochs, "dead_after": max(epochs, 10)}
    return training(
        f"poolscope:{name}",
        sources,
        recipe=_RECIPES[kind][settings.budget],
        changes=recipe,
        seed=seed,
        options=options,
        eta=eta,
        train_images=settings.train_images,
        validation=settings.validation,
        measure_at=[0, "last"],
        measure={"images": settings.measured, "displacement": list(DISPLACEMENTS), "layers": ["output"]},
    )


class TaskNetworks(Settings):
    """Networks trained on scale detection in two dimensions (figures 4, C1, C2, C5, C7).

    Attributes:
        networks: their names.
        width: of the convolutional ones' channels, relative to the published.
        narrow: the same for ResNets.
        seeds: one independent run each.
        pairs: to learn from.
        test: pairs to test on.
        length: pixels per side.
        scale: ξ.
        gap: g.
        epochs: at most; training ends at a training loss of exactly 0.
        measured: test images for D, G, R.
    """

    networks: tuple[str, ...] = Field(min_length=1)
    width: float = Field(gt=0)
    narrow: float = Field(gt=0)
    seeds: tuple[int, ...] = Field(min_length=1)
    pairs: int = Field(ge=2)
    test: int = Field(ge=2)
    length: int = Field(default=32, ge=8)
    scale: float = 14
    gap: float = 2
    epochs: int = Field(ge=1)
    measured: int = Field(ge=2)


TASK_NETWORKS: dict[Scale, dict[str, Any]] = {
    "smoke": {
        "networks": ("fullconn2", "lenet", "vgg11_bn"), "width": 0.0625, "narrow": 0.0625, "seeds": (0,), "pairs": 64,
        "test": 128, "epochs": 3, "measured": 50,
    },
    "laptop": {
        "networks": ("fullconn2", "fullconn6", "lenet", "alexnet", "vgg11", "vgg11_bn", "resnet18"),
        "width": 0.25, "narrow": 0.125, "seeds": (0, 1), "pairs": 1024, "test": 2048, "epochs": 40, "measured": 500,
    },
    "paper": {
        "networks": (
            "fullconn2", "fullconn4", "fullconn6", "lenet", "alexnet", "vgg11", "vgg11_bn", "vgg16_bn", "vgg19_bn",
            "resnet18", "resnet34", "resnet50", "efficientnet_b0",
        ),
        "width": 1.0, "narrow": 1.0, "seeds": (0, 1, 2, 3, 4), "pairs": 1024, "test": 4096, "epochs": 300,
        "measured": 500,
    },
}  # fmt: skip


def task_network(settings: TaskNetworks, sources: Sources, name: str, seed: int) -> Job:
    """Return the job that trains a network on the task."""
    connected, deep = name.startswith("fullconn"), name.startswith(("resnet", "efficientnet"))
    options: dict[str, Any] = {}
    if not connected and name != "lenet":
        width = settings.narrow if deep else settings.width
        options = {"width": width} if width != 1 else {}
    task = f"scale-detection:task=1,dim=2,length={settings.length},scale={settings.scale:g},gap={settings.gap:g}"
    return training(
        f"poolscope:{name}",
        sources,
        data=f"{task},train={settings.pairs},test={settings.test}",
        recipe="scale-detection-fc" if connected else "scale-detection",
        changes={"epochs": settings.epochs},
        seed=seed,
        options=options,
        validation="test",
        measure_at=[0, "last"],
        measure={"images": settings.measured, "layers": ["output"]},
    )


class SimpleNetworks(Settings):
    """Simple CNNs on the tasks in one dimension (figures 7, B1, B2, tables C2, C3).

    Attributes:
        budget: whose experiments: "laptop" or "paper".
        width: channels on task 1.
        seeds: of task 1 with ReLU and of task 2.
        tanh_seeds: of tanh on task 1, which takes longest.
        twice: seeds of task 1 with twice the channels; 0 for none.
        swish_seeds: of swish on task 1; 0 for none.
        multiple: M of ReLU on task 1, times the interpolation time.
        tanh_multiple: M of tanh.
        tanh_changes: other values of the tanh experiment's fields.
        task2_multiple: M of task 2.
        task2_width: channels on task 2.
        task2_length: L of task 2, a power of 2; ξ is a quarter of it, and the last layer has one pixel.
        task2_pairs: to learn from.
        most_epochs: training ends there in any case.
    """

    budget: Literal["laptop", "paper"] = "laptop"
    width: int = Field(ge=1)
    seeds: int = Field(ge=1)
    tanh_seeds: int = Field(ge=1)
    twice: int = Field(ge=0)
    swish_seeds: int = Field(ge=0)
    multiple: float = Field(gt=0)
    tanh_multiple: float = Field(gt=0)
    tanh_changes: dict[str, float] = Field(default_factory=dict)
    task2_multiple: float = Field(gt=0)
    task2_width: int = Field(ge=1)
    task2_length: int = Field(default=128, ge=8)
    task2_pairs: int = Field(default=1024, ge=8)
    most_epochs: int = Field(default=600_000, ge=1)


SIMPLE_NETWORKS: dict[Scale, SimpleNetworks] = {
    "smoke": SimpleNetworks(
        width=16, seeds=2, tanh_seeds=2, twice=1, swish_seeds=1, multiple=1.5, tanh_multiple=1.0,
        tanh_changes={"lr": 0.02, "ridge": 0.01},  # with its own, so few channels do not fit in 1500 epochs
        task2_multiple=1.5, task2_width=16, task2_length=32, task2_pairs=128, most_epochs=1200,
    ),
    "laptop": SimpleNetworks(
        width=64, seeds=4, tanh_seeds=3, twice=2, swish_seeds=2, multiple=150.0, tanh_multiple=20.0,
        task2_multiple=25.0, task2_width=32,
    ),
    "paper": SimpleNetworks(
        budget="paper", width=1000, seeds=4, tanh_seeds=4, twice=0, swish_seeds=0, multiple=500.0, tanh_multiple=200.0,
        task2_multiple=500.0, task2_width=1000,
    ),
}  # fmt: skip


def simple_networks(
    settings: SimpleNetworks, sources: Sources, which: Literal["task1", "task2", "tanh", "twice", "swish"]
) -> tuple[Job, Job]:
    """Return the job that trains simple CNNs, and the one that measures them.

    Args:
        settings: how.
        sources: what computes.
        which: ReLU on task 1 or 2; tanh, swish, or twice the channels on task 1.
    """
    experiments = {"task1": "task1", "twice": "task1", "task2": "task2", "tanh": "tanh", "swish": "swish1"}
    seeds = {"tanh": settings.tanh_seeds, "twice": settings.twice, "swish": settings.swish_seeds}
    multiples = {
        "tanh": settings.tanh_multiple, "task2": settings.task2_multiple, "swish": settings.multiple / 2,
    }  # fmt: skip
    changes: dict[str, Any] = {
        "channels": settings.width * (2 if which == "twice" else 1),
        "multiple": multiples.get(which, settings.multiple),
        "most_epochs": settings.most_epochs,
        **(settings.tanh_changes if which == "tanh" else {}),
    }
    if which == "task2":
        length, pairs = settings.task2_length, settings.task2_pairs
        changes["task"] = f"scale-detection:task=2,dim=1,length={length},scale={length // 4},train={pairs}"
        changes["depth"] = length.bit_length() - 1
        changes["channels"] = settings.task2_width
    budget = "laptop" if which == "swish" else settings.budget
    networks = simple(
        f"{experiments[which]}-{budget}", sources, seeds=range(seeds.get(which, settings.seeds)), changes=changes
    )
    return networks, simple_measured(networks)


class VGG(Settings):
    """VGG11 trained well on CIFAR-10: with batch norm, and a narrower pair with and without it (figures 3, 4, C4, C5).

    Attributes:
        budget: whose recipes: "laptop" or "paper".
        width: of the one with batch norm that is looked at most closely, relative to the published.
        pair_width: of the pair; the same width makes it one of the pair.
        seeds: of the first.
        pair_seeds: of the pair.
        train_images: learn from so many, or all.
        epochs, pair_epochs: of the recipes, unless they are the paper's.
        at: epochs at which D, G and R of the first are measured while it learns, 0 before it does.
        images: test images for that.
        measured: test images for everything else.
        shuffles: of channels.
        validation: training images to choose the epoch by, or "test", as the authors do.
    """

    budget: Literal["laptop", "paper"] = "laptop"
    width: float = Field(gt=0)
    pair_width: float = Field(gt=0)
    seeds: tuple[int, ...] = Field(min_length=1)
    pair_seeds: tuple[int, ...] = Field(min_length=1)
    train_images: int | None = None
    epochs: int = Field(ge=1)
    pair_epochs: int = Field(ge=1)
    at: tuple[int, ...] = ()
    images: int = Field(ge=2)
    measured: int = Field(ge=2)
    shuffles: int = Field(ge=2)
    validation: int | Literal["test"]


VGGS: dict[Scale, VGG] = {
    "smoke": VGG(
        width=0.0625, pair_width=0.0625, seeds=(0,), pair_seeds=(0,), train_images=300, epochs=2, pair_epochs=2,
        at=(0, 1), images=40, measured=40, shuffles=2, validation=100,
    ),
    "laptop": VGG(
        width=0.5, pair_width=0.25, seeds=(0,), pair_seeds=(0,), epochs=6, pair_epochs=5, at=(0, 1, 2, 4), images=300,
        measured=500, shuffles=4, validation=5000,
    ),
    "paper": VGG(
        budget="paper", width=1.0, pair_width=1.0, seeds=(0, 1, 2, 3, 4), pair_seeds=(0, 1, 2, 3, 4), epochs=250,
        pair_epochs=250, at=(0, 1, 2, 5, 10, 20, 50, 100, 150, 200), images=500, measured=500, shuffles=8,
        validation="test",
    ),
}  # fmt: skip


def vgg(settings: VGG, sources: Sources, seed: int, *, pair: Literal["", "vgg11", "vgg11_bn"] = "") -> Job:
    """Return the job that trains VGG11-bn, or one of the pair."""
    name, width = pair or "vgg11_bn", settings.pair_width if pair else settings.width
    epochs = settings.pair_epochs if pair else settings.epochs
    paper = settings.budget == "paper"
    measure = {"images": settings.images, "displacement": list(DISPLACEMENTS), "layers": "auto"}
    return training(
        f"poolscope:{name}",
        sources,
        recipe=_RECIPES["plain" if name == "vgg11" else "images"][settings.budget],
        changes={} if paper else {"epochs": epochs, "dead_after": max(epochs, 10)},
        seed=seed,
        options={"width": width} if width != 1 else {},
        train_images=settings.train_images,
        validation=settings.validation,
        measure_at=["last"] if pair else [*settings.at, "last"],
        measure=measure,
        memory=4.0,
    )
