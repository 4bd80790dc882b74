"""What the commands share: their options, and what the options mean."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn


class NoiseKind(StrEnum):
    """Kinds of noise on the command line."""

    matched = "matched"
    rectified = "rectified"
    spectrum = "spectrum"


Out = Annotated[Path | None, typer.Option(help="Folder for tables (Parquet) and pictures (PNG, PDF); made if missing.")]
Remarks = Annotated[list[str] | None, typer.Option("--remark", help="A sentence of your own for the page; repeatable.")]
Seed = Annotated[int, typer.Option(help="Of every perturbation: numbers depend on (seed, image, draw) alone.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")]
Data = Annotated[
    str,
    typer.Option(help="digits, cifar10, cifar100, imagefolder:DIR or parquet:FILE-or-DIR."),
]
Split = Annotated[str | None, typer.Option(help="Part of the data set, such as test.")]
Count = Annotated[int | None, typer.Option(help="Only the first so many images.")]
Size = Annotated[
    int | None, typer.Option(help="Resize the shorter side to this and cut the middle (default: the model's).")
]
Normalize = Annotated[str, typer.Option(help="auto (the model's or the data set's own), cifar10, imagenet or none.")]
Root = Annotated[Path | None, typer.Option(help="Folder of CIFAR's archives (default: $POOLSCOPE_DATA).")]
Weights = Annotated[str | None, typer.Option(help="Pretrained name (DEFAULT, …), *.safetensors or *.pt file.")]
Classes = Annotated[int | None, typer.Option(help="Number of the model's outputs.")]
Channels = Annotated[int | None, typer.Option(help="Channels of the model's images.")]
Trust = Annotated[
    bool, typer.Option("--trust-code", help="Allow models from module.path:factory, which runs that code.")
]
Displacement = Annotated[
    float | None, typer.Option(help="True rms displacement in pixels (default: shorter side / 32).")
]
Displacements = Annotated[
    str | None,
    typer.Option(
        help="True rms displacement in pixels (default: shorter side / 32), or several with commas: 0.3,1,1.5 (all "
        "with the same random fields)."
    ),
]
Cutoff = Annotated[int, typer.Option(help="Highest mode of the deformation.")]
Noise = Annotated[
    NoiseKind, typer.Option(help="Noise of the deformation's norm: white, rectified, or of its spectrum.")
]
Layers = Annotated[
    str, typer.Option(help="auto, activations, weights, blocks, all, a regular expression, or names with commas.")
]
Draws = Annotated[int, typer.Option(help="Perturbations an image.")]
Batch = Annotated[str, typer.Option(help="Images a forward, or auto.")]
Precision = Annotated[str, typer.Option(help="float32, float64 or bf16-mixed.")]
Memory = Annotated[str, typer.Option(help="contiguous or channels_last.")]
Norm = Annotated[str, typer.Option("--bn", help="Batch norm by eval, reestimate or batch statistics.")]
Protocol = Annotated[str, typer.Option(help="text, or published: the authors' 500 images, float64, δ = 1, c = 3.")]


def made_folder(out: Path | None) -> Path | None:
    """Make the folder and try to write to it, before any work starts."""
    if out is None:
        return None
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".poolscope-probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"--out must be a folder that can be written to; got {out}: {error.strerror}") from None
    return out


@contextmanager
def processes(device: str) -> Iterator[tuple[Any, int]]:
    """Join the processes torchrun started; yield (process group or None, rank)."""
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        yield None, 0
        return
    import torch
    import torch.distributed as dist

    on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield "world", dist.get_rank()
    finally:
        dist.destroy_process_group()


def loaded(
    name: str, weights: str | None, classes: int | None, channels: int | None, trust: bool, seed: int
) -> nn.Module:
    """Return the model of a name; where that is a file which knows its network, ``weights`` is another such file."""
    from poolscope import load_model

    if name.endswith(".safetensors") and weights is not None:
        name, weights = weights, None
    return load_model(
        name, weights=weights, num_classes=classes, in_channels=channels, trust_code=trust, seed=seed % 2**32
    )


def opened(
    data: str,
    split: str | None,
    count: int | None,
    size: int | None,
    normalize: str,
    root: Path | None,
    model: nn.Module,
) -> Any:
    """Return the images of a name, for a model."""
    from poolscope import open_images

    return open_images(data, split=split, count=count, size=size, normalize=normalize, root=root, for_model=model)


def measure_options(
    displacement: float | None,
    cutoff: int,
    noise: NoiseKind,
    layers: str,
    draws: int,
    seed: int,
    batch_size: str,
    device: str,
    precision: str,
    memory_format: str,
    bn: str,
    protocol: str,
) -> dict[str, Any]:
    """Return ``measure``'s keyword arguments."""
    import poolscope as ps

    noises: dict[NoiseKind, Callable[[], Any]] = {
        NoiseKind.matched: ps.MatchedNoise,
        NoiseKind.rectified: lambda: ps.MatchedNoise(rectified=True),
        NoiseKind.spectrum: ps.SpectrumMatchedNoise,
    }
    if batch_size != "auto" and not batch_size.isdigit():
        raise ValueError(f"--batch-size must be auto or a whole number, 1 or more; got {batch_size!r}")
    published = protocol == "published" and displacement is None
    return {
        "deformation": ps.Diffeomorphism.published(1.0, cutoff)
        if published
        else ps.Diffeomorphism(displacement, cutoff),
        "noise": noises[noise](),
        "layers": layers.split(",") if "," in layers else layers,
        "draws": draws,
        "seed": seed,
        "batch_size": batch_size if batch_size == "auto" else int(batch_size),
        "device": device,
        "precision": precision,
        "memory_format": memory_format,
        "bn": bn,
        "protocol": protocol,
    }


def single_moves(data: str, moves: str | None, displacements: Sequence[float] | None) -> Any:
    """Return the moves of single pixels that a task, or ``--moves``, asks for; None for smooth deformations.

    Raises:
        ValueError: unknown moves, or a displacement too, which single pixels do not take.
    """
    from poolscope.tasks import PREFIX

    is_task = data.startswith(PREFIX)
    if moves is None and (not is_task or displacements):
        return None
    if displacements:
        raise ValueError(f"--moves and --displacement must not be given both; got {moves} and {displacements}")
    from poolscope.datasets.scale_detection import task_moves
    from poolscope.perturb import PixelShift
    from poolscope.perturb.pixel_shift import steps

    if moves is not None:
        steps(moves, 2)  # refuses what is none
    if is_task:
        return task_moves(data, **({"moves": moves} if moves else {}))  # type: ignore[arg-type]
    return PixelShift(moves)  # type: ignore[arg-type]


def numbers(text: str | None, option: str) -> list[float] | None:
    """Return the numbers of a list with commas."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} must be a number, or several with commas; got {text!r}") from None


def command_line() -> str:
    """Return this command, as a shell takes it."""
    return " ".join(["poolscope", *map(shlex.quote, sys.argv[1:])])


def print_table(table: pd.DataFrame, title: str, columns: list[str]) -> None:
    """Print columns of a table, numbers to four digits."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        shown.add_column(column, justify="left" if table[column].dtype.kind in "OTU" else "right", no_wrap=True)
    for row in table[columns].itertuples(index=False):
        shown.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row))
    width = None if sys.stdout.isatty() else 160
    Console(width=width).print(shown)
