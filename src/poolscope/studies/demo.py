"""The demonstration: a small network learns the digits, and is measured before and after."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from poolscope.datasets import load_images
from poolscope.networks import load_model, write_weights
from poolscope.perturb import Diffeomorphism, MatchedNoise
from poolscope.report import (
    plot_amplitudes,
    plot_perturbed,
    plot_sensitivities,
    plot_training,
    save_figure,
    write_page,
)
from poolscope.report.style import house_style, new_figure
from poolscope.sensitivity import Comparison, compare, sweep
from poolscope.training import accuracy, fit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MODEL = "poolscope:minivgg"
DISPLACEMENTS = (0.1, 0.3, 0.6, 1.0, 1.5)


@dataclass
class Demo:
    """What the demonstration found: test accuracy (0 .. 1), the paired comparison, R against amplitude."""

    accuracy: float
    comparison: Comparison
    amplitudes: pd.DataFrame
    seconds: float
    files: list[Path]


def run(out: Path, *, epochs: int = 20, seed: int = 0, say: Callable[[str], object] = print) -> Demo:
    """Train ``poolscope:minivgg`` on scikit-learn's 1437 training digits; measure it on the 360 test digits.

    Writes initial and trained weights (safetensors), the measurement (Parquet), figures (PNG and PDF) and
    ``report.html`` to ``out``.

    Args:
        out: an existing folder.
        epochs: passes over the training images.
        seed: of initial weights, training and perturbations.
        say: told of each step.
    """
    started = time.perf_counter()
    images, labels = load_images("digits", split="train", with_labels=True)
    test_images, test_labels = load_images("digits", split="test", with_labels=True)
    initial = load_model(MODEL, in_channels=1, num_classes=10, seed=seed)
    trained = copy.deepcopy(initial)

    def report(row: dict[str, Any]) -> None:
        if row["epoch"] % 5 == 0 or row["epoch"] == 1:
            say(f"epoch {row['epoch']:2d} of {epochs}: test accuracy {row['validation_accuracy']:.1%}")

    curve = fit(
        trained, images, labels, epochs=epochs, seed=seed, validation=(test_images, test_labels), on_epoch=report
    )
    reached = accuracy(trained, test_images, test_labels)
    files = [out / "initial.safetensors", out / "trained.safetensors"]
    for model, path in zip((initial, trained), files, strict=True):
        write_weights(model, path)

    say("measuring D, G and R of both networks, layer by layer")
    models = {"initial": initial, "trained": trained}
    deformation = Diffeomorphism(displacement=1.0, cutoff=3)
    comparison = compare(models, images=test_images, deformation=deformation, draws=4, seed=seed, progress=False)
    table = comparison.result.table
    table["variant"] = table["model"]
    table["model"] = MODEL
    files.append(comparison.result.save(out / "measurement.parquet"))

    say("measuring R against the amplitude of the deformation")
    amplitudes = _amplitudes(models, test_images, seed)

    figures = [
        (plot_sensitivities(table), "D, G and R against depth, with 95 % bands over images"),
        (
            _amplitudes_and_training(amplitudes, curve),
            "left: R of the output against the deformation's size; right: errors during training",
        ),
        (_examples(test_images[:3], deformation, seed), "test digits: x, deformed τx, noisy x + η of the same norm"),
    ]
    for (figure, _), stem in zip(figures, ("sensitivities", "amplitudes", "perturbed"), strict=True):
        files += save_figure(figure, out / stem)
    seconds = time.perf_counter() - started
    columns = ["layer", "variant", "D", "D_se", "G", "G_se", "R", "R_low", "R_high"]
    page = write_page(
        out / "report.html",
        "What training does to a small network",
        summary=summary(reached, comparison),
        figures=figures,
        tables=[
            ("Sensitivities", table[columns]),
            ("R, trained against initial (natural log of the ratio, paired over images)", comparison.table),
        ],
        record={**comparison.record, "command": f"poolscope demo --seed {seed}", "seconds": round(seconds, 1)},
    )
    return Demo(reached, comparison, amplitudes, seconds, [*files, page])


def summary(reached: float, comparison: Comparison) -> list[str]:
    """Say in plain words what was found; every statement is computed from the numbers and their intervals."""
    table = comparison.result.table
    before, after = (
        table[(table["layer"] == "output") & (table["variant"] == variant)].iloc[0].to_dict()
        for variant in ("initial", "trained")
    )
    lines = [
        f"A small convolutional network ({MODEL}) reached {reached:.1%} accuracy on {before['images']} test digits. "
        "Each "
        "layer was measured before and after training, with deformations of 1 pixel rms and noise of the same norm."
    ]
    for quantity, what in (("D", "deformations"), ("G", "noise")):
        error = math.hypot(before[f"{quantity}_se"], after[f"{quantity}_se"])
        change = "less" if after[quantity] < before[quantity] else "more"
        if abs(after[quantity] - before[quantity]) < 1.96 * error:
            lines.append(f"Sensitivity of the output to {what} ({quantity}) did not change measurably.")
        else:
            lines.append(
                f"The trained output is {change} sensitive to {what}: {quantity} went from {before[quantity]:.3g} to "
                f"{after[quantity]:.3g}."
            )
    paired = comparison.table
    row = paired[paired["layer"] == "output"].iloc[0].to_dict()
    verdict = "fell" if row["high"] < 0 else "rose" if row["low"] > 0 else "did not change measurably"
    lines.append(
        f"Their ratio R at the output {verdict}: from {row['R_first']:.3g} to {row['R_second']:.3g}, log ratio "
        f"{row['log_ratio']:.2f} with 95 % interval {row['low']:.2f} to {row['high']:.2f}. One network, one "
        "training run: "
        "the intervals are over images."
    )
    return lines


def _amplitudes(models: dict[str, torch.nn.Module], images: torch.Tensor, seed: int) -> pd.DataFrame:
    import pandas as pd

    tables = [
        sweep(
            model,
            images,
            displacement=DISPLACEMENTS,
            layers=["output"],
            seed=seed,
            progress=False,
            name=MODEL,
            variant=variant,
        ).table
        for variant, model in models.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _amplitudes_and_training(amplitudes: pd.DataFrame, curve: list[dict[str, Any]]) -> Figure:
    with house_style():
        figure, (left, right) = new_figure(10.5, 3.6, columns=2)
        plot_amplitudes(amplitudes, ax=left)
        plot_training(curve, ax=right)
    return figure


def _examples(images: torch.Tensor, deformation: Diffeomorphism, seed: int) -> Figure:
    generator = torch.Generator().manual_seed(seed)
    moved = deformation(images, generator=generator)
    return plot_perturbed(images, moved, MatchedNoise()(images, moved, generator=generator))
