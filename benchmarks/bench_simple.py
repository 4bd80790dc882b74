"""What a training step of the simple CNNs of section 4 costs: ours against the published way, and against its products.

    python benchmarks/bench_simple.py [--threads 2] [--seconds 10] [--skip-wide]

The peer trains one network at a time as the published script does: circular padding and convolutions as modules, the
ridge as a term of the loss, gradients by autograd, torch's SGD. Ours steps several seeds at once, each layer one
product. The floor is those products alone, three a layer (two for the first), on tensors of the same shapes. All take
turns, step by step, in one process; medians, in milliseconds a seed.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from poolscope.networks.simple import SimpleCNN
from poolscope.training.simple.captured import stepper
from poolscope.training.simple.stack import Stack

BATCH = 8
TASKS = {
    "task 1": {"length": 32, "depth": 12, "filter_size": 3, "stride": 1},
    "task 2": {"length": 128, "depth": 7, "filter_size": 2, "stride": 2},
}


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def medians(jobs: dict[str, Callable[[], object]], budget: float) -> dict[str, float]:
    """Median seconds of each job, in turn, after three each that are not counted, until each had its budget."""
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for work in jobs.values():
        for _ in range(3):
            work()
    while min(sum(each) for each in taken.values()) < budget:
        for name, work in jobs.items():
            if sum(taken[name]) < budget:
                taken[name].append(seconds(work))
    return {name: statistics.median(each) for name, each in taken.items()}


def published_step(options: dict[str, int], channels: int, length: int, device: torch.device) -> Callable[[], object]:
    model = SimpleCNN(channels=channels, **options).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6 * channels)
    images, signs = torch.randn(BATCH, 1, length, device=device), torch.ones(BATCH, device=device)

    def step() -> None:
        loss = nn.functional.relu(1 - signs * model(images)[:, 0]).mean()
        for layer in model.layers:
            loss = loss + 0.01 * layer.weight.square().sum() / (channels * len(model.layers))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def our_step(
    options: dict[str, int], channels: int, length: int, seeds: int, device: torch.device
) -> Callable[[], object]:
    stack = Stack([SimpleCNN(channels=channels, **options).to(device) for _ in range(seeds)], (length,))
    images, signs = torch.randn(seeds, BATCH, length, 1, device=device), torch.ones(seeds, BATCH, device=device)
    step = stepper(stack, lr=1e-6 * channels, ridge=0.01, bias_lr=None)
    return torch.no_grad()(lambda: step(images, signs))


def products(
    options: dict[str, int], channels: int, length: int, seeds: int, device: torch.device
) -> Callable[[], object]:
    jobs = []
    taps, pixels = options["filter_size"], length
    for number in range(options["depth"]):
        pixels //= options["stride"]
        inner = taps * (channels if number else 1)
        rows = torch.randn(seeds, BATCH * pixels, channels, device=device)
        windows = torch.randn(seeds, BATCH * pixels, inner, device=device)
        weight = torch.randn(seeds, channels, inner, device=device)
        jobs.append((windows, weight.transpose(1, 2)))
        jobs.append((rows.transpose(1, 2), windows))
        if number:
            jobs.append((rows, weight))
    rooms = [torch.bmm(*pair) for pair in jobs]

    def work() -> None:
        for pair, room in zip(jobs, rooms, strict=True):
            torch.bmm(*pair, out=room)

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each of the things timed")
    parser.add_argument("--skip-wide", action="store_true", help="not the 1000 channels of the paper")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    what = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    print(f"torch {torch.__version__}, {what}, {arguments.threads} threads, batch {BATCH}, float32; ms a seed")
    settings = [("task 1", 64, 4), ("task 1", 64, 1), ("task 2", 64, 4)]
    settings += [] if arguments.skip_wide else [("task 1", 1000, 1), ("task 2", 1000, 1)]
    for task, channels, seeds in settings:
        options = dict(TASKS[task])
        length = options.pop("length")
        taken = medians(
            {
                "products alone (floor)": products(options, channels, length, seeds, device),
                f"poolscope, {seeds} at once": our_step(options, channels, length, seeds, device),
                "published way": published_step(options, channels, length, device),
            },
            arguments.seconds,
        )
        floor, ours, peer = list(taken.values())
        print(f"\n{task}, {channels} channels")
        for name, each, count in zip(taken, (floor, ours, peer), (seeds, seeds, 1), strict=True):
            print(f"  {name:28s} {1e3 * each / count:8.2f}")
        print(f"  ours / published {ours / seeds / peer:.2f}, ours / floor {ours / floor:.2f}")


if __name__ == "__main__":
    main()
