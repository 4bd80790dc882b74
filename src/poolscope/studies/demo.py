"""The demonstration: a small network learns the digits, and is measured before and after, with shuffled channels."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolscope.datasets import load_images
from poolscope.networks import load_model, write_weights
from poolscope.report import plot_training, save_figure
from poolscope.report.style import house_style, new_figure
from poolscope.studies.findings import Findings
from poolscope.studies.measure import run as measure_all
from poolscope.training import accuracy, fit, load_recipe

MODEL = "poolscope:minivgg"
DISPLACEMENTS = (0.3, 1.0, 1.5)
SHUFFLES = 8


@dataclass
class Demo:
    """What the demonstration found: test accuracy (0 .. 1), tables, seconds it took, files written."""

    accuracy: float
    findings: Findings
    seconds: float
    files: list[Path]


def run(out: Path, *, epochs: int = 20, seed: int = 0, say: Callable[[str], object] = print) -> Demo:
    """Train ``poolscope:minivgg`` on scikit-learn's 1437 training digits; measure it on the 360 test digits.

    Writes initial and trained weights (safetensors), tables (Parquet), figures (PNG and PDF) and ``report.html`` to
    ``out``.

    Args:
        out: an existing folder.
        epochs: passes over the training images.
        seed: of initial weights, training, perturbations and shuffles.
        say: told of each step.
    """
    started = time.perf_counter()
    images, labels = load_images("digits", split="train", with_labels=True)
    test_images, test_labels = load_images("digits", split="test", with_labels=True)
    initial = load_model(MODEL, in_channels=1, num_classes=10, seed=seed)
    trained = copy.deepcopy(initial)
    recipe = load_recipe("digits").changed(epochs=epochs, warmup_epochs=epochs / 10)

    def report(row: dict[str, Any]) -> None:
        if row["epoch"] % 5 == 0 or row["epoch"] == 1:
            say(f"epoch {row['epoch']:2d} of {epochs}: test accuracy {1 - row['validation_error']:.1%}")

    curve = fit(
        trained,
        images,
        labels,
        recipe=recipe,
        seed=seed,
        validation=(test_images, test_labels),
        on_epoch=report,
        progress=False,
    )
    reached = accuracy(trained, test_images, test_labels)
    files = [out / "initial.safetensors", out / "trained.safetensors"]
    for model, path in zip((initial, trained), files, strict=True):
        write_weights(model, path)

    sizes = ", ".join(f"{size:g}" for size in DISPLACEMENTS)
    say(f"measuring both networks and {SHUFFLES} shuffled copies, layer by layer, at {sizes} pixels")
    found = measure_all(
        trained,
        test_images,
        displacement=DISPLACEMENTS,
        initial=initial,
        draws=SHUFFLES,
        recalibrate=True,
        controls=["mean_channel"],
        seed=seed,
        name=MODEL,
    )
    found.remarks = [
        f"The network reached {reached:.1%} accuracy on {len(test_images)} test digits after {epochs} epochs on "
        f"{len(images)} others. One network, one training run: intervals are over images and shuffles."
    ]
    seconds = time.perf_counter() - started
    found.record |= {
        "data": "digits, test",
        "command": f"poolscope demo --epochs {epochs} --seed {seed}",
        "seconds": round(seconds, 1),
        "training": curve,
    }
    import pandas as pd

    with house_style():
        figure, (ax,) = new_figure(5.2, 3.6)
        plot_training(pd.DataFrame(curve).rename(columns={"validation_error": "test_error"}), ax=ax)
    files += save_figure(figure, out / "training")
    files += found.save(out, "What training does to a small network")
    return Demo(reached, found, seconds, files)
