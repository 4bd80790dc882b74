"""How fast networks train: poolscope's steps against plain eager float32 ones, and what augmenting an image costs.

    python benchmarks/bench_train.py [--threads 2] [--seconds 10] [--models vgg11_bn resnet18] [--skip-bf16]

The floor is the shortest loop there is: batches made beforehand, forward, cross-entropy, backward, SGD with momentum,
float32, contiguous tensors. Ours takes bytes, crops, flips and normalises them, counts losses and errors. The two
take turns, step by step, in one process, after a warm-up step each; medians. Augmentation: the floor is a copy of the
bytes; the peer is torchvision on PIL images, one by one, as data loaders' workers do.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

import poolscope as ps
from poolscope._torchvision import import_torchvision
from poolscope.training.batches import Batches, LabelledImages
from poolscope.training.learner import Learner, training
from poolscope.training.recipe import Recipe

CIFAR10 = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.2010)}
RECIPE = Recipe(epochs=1, lr=0.01, weight_decay=5e-4, crop_padding=4, flip=True)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def medians(jobs: dict[str, Callable[[], object]], budget: float) -> dict[str, float]:
    """Median seconds of each job, in turn, after one each that is not counted, until each had its budget."""
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for work in jobs.values():
        work()
    while min(sum(each) for each in taken.values()) < budget:
        for name, work in jobs.items():
            if sum(taken[name]) < budget:
                taken[name].append(seconds(work))
    return {name: statistics.median(each) for name, each in taken.items()}


def plain_step(name: str, data: LabelledImages, device: torch.device) -> Callable[[], object]:
    model = ps.load_model(f"poolscope:{name}", seed=0).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    images, labels = data.normalised(data.images[:128]).to(device), data.labels[:128].to(device)

    def step() -> None:
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def our_step(name: str, data: LabelledImages, recipe: Recipe, device: torch.device) -> Callable[[], object]:
    model = ps.load_model(f"poolscope:{name}", seed=0).to(device)
    learner = Learner(model, Batches(data.to(device), recipe, 0), recipe, 0)

    def step() -> None:
        with training(model, device):
            if learner.step == learner.batches.steps:
                learner.end_epoch()
            learner.advance()

    return step


def augmentation(data: LabelledImages, budget: float) -> None:
    from PIL import Image

    transforms = import_torchvision().transforms
    batches = Batches(data, RECIPE, 0)
    peer = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(CIFAR10["mean"], CIFAR10["std"]),
        ]
    )
    pictures = [Image.fromarray(each.permute(1, 2, 0).numpy()) for each in data.images[:128]]
    steps = itertools.cycle(range(batches.steps))
    deformed = Batches(data, RECIPE.changed(deformation=1.0), 0)
    jobs: dict[str, Callable[[], object]] = {
        "copy of the bytes (floor)": data.images[:128].clone,
        "poolscope: crop, flip, normalise": lambda: batches(0, next(steps)),
        "the same with a deformation": lambda: deformed(0, next(steps)),
        "torchvision on PIL images": lambda: torch.stack([peer(each) for each in pictures]),
    }
    print("\nmicroseconds an image, batch of 128 of 3x32x32")
    for name, taken in medians(jobs, budget).items():
        print(f"  {name:36s} {taken / 128 * 1e6:8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each of the things timed")
    parser.add_argument("--models", nargs="+", default=["vgg11_bn", "resnet18"])
    parser.add_argument("--skip-bf16", action="store_true", help="slow on processors without bfloat16 units")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    what = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    print(f"torch {torch.__version__}, {what}, {arguments.threads} threads, batch 128, CIFAR-10's shapes")
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4096, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (4096,), generator=generator)
    data = LabelledImages(images, labels, **CIFAR10)
    for name in arguments.models:
        jobs = {"plain eager float32 (floor)": plain_step(name, data, device)}
        for precision, layout in itertools.product(("float32", "bf16-mixed"), ("contiguous", "channels_last")):
            if precision == "float32" or not arguments.skip_bf16:
                recipe = RECIPE.changed(precision=precision, memory_format=layout)
                jobs[f"poolscope {precision} {layout}"] = our_step(name, data, recipe, device)
        taken = medians(jobs, arguments.seconds)
        floor = taken["plain eager float32 (floor)"]
        print(f"\n{name}: images per second, and times the floor's")
        for job, each in taken.items():
            print(f"  {job:36s} {128 / each:8.0f} {floor / each:7.2f}")
    augmentation(data, arguments.seconds)


if __name__ == "__main__":
    main()
