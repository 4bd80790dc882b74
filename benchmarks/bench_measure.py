"""What measuring costs: `measure` at every ReLU against the bare forwards it cannot do without, and its memory.

The floor of D, G and R is three forwards of every image (x, τx, x + η), at the same batch, precision and memory format,
timed in the same process in turn with ours. Memory is the peak resident set above that before the measurement, each in
a fresh process.

    python benchmarks/bench_measure.py [--threads 2] [--repeats 5] [--skip-memory] [--skip-large]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import poolscope as ps

MEMORY_SCRIPT = """
import resource, sys, threading, time, torch
import poolscope as ps
torch.set_num_threads({threads})
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
model = ps.load_model("{model}", seed=0)
images = torch.randn({count}, 3, {side}, {side}, generator=torch.Generator().manual_seed(0))
model(images[:2])
start = peak = resident()
done = False
def watch():
    global peak
    while not done:
        peak = max(peak, resident()); time.sleep(0.002)
thread = threading.Thread(target=watch); thread.start()
ps.measure(model, images, progress=False)
done = True; thread.join()
print((peak - start) / 2**20)
"""


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def forwards(model: nn.Module, images: Tensor, batch: int, precision: str, memory_format: str) -> None:
    """Three forwards of every image, [x; x; x] a batch, as the measurement stacks them."""
    layout = torch.channels_last if memory_format == "channels_last" else torch.contiguous_format
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16-mixed"):
        for part in images.split(batch):
            model(part.repeat(3, 1, 1, 1).contiguous(memory_format=layout))


def row(
    name: str, model: nn.Module, images: Tensor, precision: str, memory_format: str, repeats: int, batch: int
) -> None:
    """Time floor and measurement in turn; print medians and their ratio."""
    model = model.eval()
    if memory_format == "channels_last":
        model = model.to(memory_format=torch.channels_last)
    options = {"precision": precision, "memory_format": memory_format, "progress": False, "layers": "activations"}
    best, best_time, few = batch, float("inf"), images[: 4 * batch]
    for candidate in sorted({batch, max(1, batch // 2), batch * 2}):  # the floor at its own best batch
        taken = min(seconds(lambda c=candidate: forwards(model, few, c, precision, memory_format)) for _ in range(2))
        if taken < best_time:
            best, best_time = candidate, taken
    floors, ours = [], []
    for _ in range(repeats):
        floors.append(seconds(lambda: forwards(model, images, best, precision, memory_format)))
        ours.append(seconds(lambda: ps.measure(model, images, ps.Diffeomorphism(1.0, 3), **options)))
    ratio = statistics.median(o / f for o, f in zip(ours, floors, strict=True))
    print(
        f"{name:34s} {precision:10s} {memory_format:13s} floor {statistics.median(floors):7.2f} s (batch {best:3d})   "
        f"measure {statistics.median(ours):7.2f} s   ratio {ratio:5.3f}"
    )


def memory(model: str, count: int, side: int, threads: int) -> float:
    script = MEMORY_SCRIPT.format(model=model, count=count, side=side, threads=threads)
    return float(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--skip-large", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        f"torch {torch.__version__}, {arguments.threads} threads, {platform.machine()}, Python "
        f"{platform.python_version()}"
    )
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(500, 3, 32, 32, generator=generator)
    vgg = ps.load_model("poolscope:vgg11_bn", seed=0)
    for precision, memory_format in (
        ("float32", "contiguous"),
        ("float32", "channels_last"),
        ("bf16-mixed", "channels_last"),
    ):
        row("VGG11-bn, 500 images 32x32", vgg, images, precision, memory_format, arguments.repeats, 25)
    if not arguments.skip_large:
        large = torch.randn(48, 3, 224, 224, generator=generator)
        vgg19 = ps.load_model("torchvision:vgg19", seed=0)
        row("VGG19, 48 images 224x224", vgg19, large, "float32", "contiguous", max(2, arguments.repeats // 2), 2)
    if not arguments.skip_memory:
        for count in (1000, 5000):
            used = memory("poolscope:vgg11_bn", count, 32, arguments.threads)
            print(f"peak memory above start, VGG11-bn, {count} images: {used:.0f} MiB")
        used = memory("torchvision:vgg19", 12, 224, arguments.threads)
        print(f"peak memory above start, VGG19 at 224, 12 images: {used:.0f} MiB")


if __name__ == "__main__":
    main()
