"""How long a deformation takes, against the least it could: one ``grid_sample`` of the same images.

    python benchmarks/bench_deform.py [--threads 2] [--repeats 40]

Everything runs in one process, in an order drawn anew for every repeat, after a warm-up; medians, and ratios to the
floor's median (last column: ratios of the least times, which other work on the machine disturbs less). ``draw + move``
is ``tau(images, generator=g)``: new random fields every time. ``warp`` gets its fields ready made. The peer is
torchvision's ElasticTransform, called for each image, since it draws one field a call; it is timed afterwards, a few
times only.
"""

from __future__ import annotations

import argparse
import platform
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

import poolscope as ps
from poolscope._torchvision import import_torchvision
from poolscope.perturb.warping import sampling_grid

Job = Callable[[], object]

# images, side, cutoff, displacement in pixels
CASES = [(256, 32, 3, 1.0), (256, 32, 15, 0.3), (32, 224, 3, 7.0), (2, 1024, 3, 32.0)]


def timed(jobs: dict[str, Job], repeats: int, warm_up: int = 3) -> dict[str, list[float]]:
    """Return the seconds each job took, every time."""
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    order = list(jobs)
    for repeat in range(-warm_up, repeats):
        random.shuffle(order)
        for name in order:
            start = time.perf_counter()
            jobs[name]()
            if repeat >= 0:
                taken[name].append(time.perf_counter() - start)
    return taken


def jobs_for(count: int, side: int, cutoff: int, displacement: float) -> dict[str, Job]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, side, side, generator=generator)
    tau = ps.Diffeomorphism(displacement, cutoff, fold="ignore")
    field = tau.sample(count, (side, side), generator=generator)
    grid = sampling_grid(field).contiguous()
    return {
        "floor": lambda: F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False),
        "draw + move": lambda: tau(images, generator=generator),
        "warp": lambda: ps.warp(images, field),
    }


def peer_for(count: int, side: int) -> dict[str, Job]:
    try:
        import_torchvision()
        from torchvision.transforms.v2 import ElasticTransform
    except ImportError:
        return {}
    images = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))
    elastic = ElasticTransform()
    return {"ElasticTransform": lambda: [elastic(image) for image in images]}


def processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=40)
    arguments = parser.parse_args()
    if arguments.threads < 1 or arguments.repeats < 1:
        parser.error(f"threads and repeats must be at least 1; got {arguments.threads} and {arguments.repeats}")
    torch.set_num_threads(arguments.threads)
    print(f"{processor()}; {platform.system()} {platform.machine()}")
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, poolscope {ps.__version__}; "
        f"{arguments.threads} threads, {arguments.repeats} repeats, float32"
    )
    print(f"\n{'images':>16} {'cutoff':>6}  {'job':<16} {'median ms':>10} {'images/s':>10} {'x floor':>8} {'least':>6}")
    for count, side, cutoff, displacement in CASES:
        seconds = timed(jobs_for(count, side, cutoff, displacement), arguments.repeats)
        seconds |= timed(peer_for(count, side), min(arguments.repeats, 3), warm_up=1)
        floor, least = statistics.median(seconds["floor"]), min(seconds["floor"])
        for name, each in seconds.items():
            median = statistics.median(each)
            print(
                f"{f'{count} x 3x{side}x{side}':>16} {cutoff:>6}  {name:<16} {1e3 * median:>10.2f} "
                f"{count / median:>10.0f} {median / floor:>8.2f} {min(each) / least:>6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
