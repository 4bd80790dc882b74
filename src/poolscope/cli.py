"""The command line: thin, every command a few calls of the library. Exit codes: 0 done, 1 a run failed, 2 bad input."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="How a trained network loses spatial information: D, G and R, layer by layer.",
)

#: Errors that mean bad input; anything else is a run that failed.
_BAD_INPUT = (ValueError, TypeError, FileNotFoundError, NotADirectoryError, PermissionError, ImportError)


class NoiseKind(str, Enum):
    """Kinds of noise on the command line."""

    matched = "matched"
    rectified = "rectified"
    spectrum = "spectrum"


Out = Annotated[Path | None, typer.Option(help="Folder for tables (Parquet) and pictures (PNG, PDF); made if missing.")]
Seed = Annotated[int, typer.Option(help="Of every perturbation: numbers depend on (seed, image, draw) alone.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")]
Data = Annotated[
    str,
    typer.Option(help="digits, cifar10, imagefolder:DIR or parquet:FILE-or-DIR."),
]
Split = Annotated[str | None, typer.Option(help="Part of the data set, such as test.")]
Count = Annotated[int | None, typer.Option(help="Only the first so many images.")]
Size = Annotated[
    int | None, typer.Option(help="Resize the shorter side to this and cut the middle (default: the model's).")
]
Normalize = Annotated[str, typer.Option(help="auto (the model's or the data set's own), cifar10, imagenet or none.")]
Root = Annotated[Path | None, typer.Option(help="Folder of cifar10's archive (default: $POOLSCOPE_DATA).")]
Weights = Annotated[str | None, typer.Option(help="Pretrained name (DEFAULT, …), *.safetensors or *.pt file.")]
Classes = Annotated[int | None, typer.Option(help="Number of the model's outputs.")]
Channels = Annotated[int | None, typer.Option(help="Channels of the model's images.")]
Trust = Annotated[
    bool, typer.Option("--trust-code", help="Allow models from module.path:factory, which runs that code.")
]
Displacement = Annotated[
    float | None, typer.Option(help="True rms displacement in pixels (default: shorter side / 32).")
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


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        code = app(standalone_mode=False)
    except KeyboardInterrupt:
        _complain("interrupted")
        code = 130
    except Exception as error:
        if hasattr(error, "format_message"):  # a wrong command line
            _complain(f"{error.format_message()}; got: {' '.join(sys.argv[1:]) or 'nothing'} (see poolscope --help)")
            code = 2
        elif type(error).__name__ in ("Abort", "Exit"):
            code = int(getattr(error, "exit_code", 1))
        elif isinstance(error, _BAD_INPUT):
            _complain(str(error))
            code = 2
        else:
            if os.environ.get("POOLSCOPE_TRACEBACK"):
                raise
            _complain(f"failed with {type(error).__name__}: {error} (POOLSCOPE_TRACEBACK=1 shows where)")
            code = 1
    sys.stdout.flush()
    sys.exit(code or 0)


def _complain(message: str) -> None:
    print(f"poolscope: {' '.join(message.split())}", file=sys.stderr)


def _folder(out: Path | None) -> Path | None:
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
def _processes(device: str) -> Iterator[tuple[Any, int]]:
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


def _load(
    name: str, weights: str | None, classes: int | None, channels: int | None, trust: bool, seed: int
) -> nn.Module:
    from poolscope import load_model

    return load_model(
        name, weights=weights, num_classes=classes, in_channels=channels, trust_code=trust, seed=seed % 2**32
    )


def _open(
    data: str,
    split: str | None,
    count: int | None,
    size: int | None,
    normalize: str,
    root: Path | None,
    model: nn.Module,
) -> Any:
    from poolscope import open_images

    return open_images(data, split=split, count=count, size=size, normalize=normalize, root=root, for_model=model)


def _options(
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


def _print_table(table: pd.DataFrame, title: str, columns: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        shown.add_column(column, justify="left" if table[column].dtype.kind in "OTU" else "right", no_wrap=True)
    for row in table[columns].itertuples(index=False):
        shown.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row))
    width = None if sys.stdout.isatty() else 160
    Console(width=width).print(shown)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for weights, tables, pictures and report.html.")] = Path(
        "demo-report"
    ),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 20,
    seed: Seed = 0,
) -> None:
    """Train a small network on scikit-learn's digits and measure it before and after (about a minute).

    Example: poolscope demo --out demo-report
    """
    folder = _folder(out)
    assert folder is not None
    from poolscope.studies.demo import run

    found = run(folder, epochs=epochs, seed=seed)
    columns = ["layer", "R_first", "R_second", "log_ratio", "low", "high"]
    _print_table(found.comparison.table, "R at 1 pixel: initial (first) and trained (second) network", columns)
    print(f"test accuracy {found.accuracy:.1%}, {found.seconds:.0f} s; open {folder / 'report.html'}")


@app.command()
def measure(
    model: Annotated[str, typer.Argument(help="poolscope:NAME, torchvision:NAME, timm:NAME or module.path:factory.")],
    data: Data = "digits",
    split: Split = None,
    count: Count = None,
    size: Size = None,
    normalize: Normalize = "auto",
    root: Root = None,
    weights: Weights = None,
    num_classes: Classes = None,
    in_channels: Channels = None,
    trust_code: Trust = False,
    displacement: Displacement = None,
    cutoff: Cutoff = 3,
    noise: Noise = NoiseKind.matched,
    layers: Layers = "auto",
    draws: Draws = 1,
    batch_size: Batch = "auto",
    precision: Precision = "float32",
    memory_format: Memory = "contiguous",
    bn: Norm = "eval",
    protocol: Protocol = "text",
    out: Out = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Measure D, G and R of one model, layer by layer; under torchrun the processes share the images.

    Example: poolscope measure torchvision:resnet18 --weights DEFAULT --data imagefolder:photos --out resnet18
    """
    folder = _folder(out)
    options = _options(
        displacement, cutoff, noise, layers, draws, seed, batch_size, device, precision, memory_format, bn, protocol
    )
    import poolscope as ps

    with _processes(device) as (group, rank):
        network = _load(model, weights, num_classes, in_channels, trust_code, seed)
        images = _open(data, split, count, size, normalize, root, network)
        result = ps.measure(network, images, **options, process_group=group)
        if rank:
            return
        result.record["command"] = " ".join(["poolscope", *sys.argv[1:]])
        result.record["weights"] = weights
        if folder is not None:
            from poolscope.report import plot_sensitivities, save_figure

            result.save(folder / "measurement.parquet")
            save_figure(plot_sensitivities(result.table), folder / "sensitivities")
        columns = ["layer", "kind", "D", "D_se", "G", "G_se", "R", "R_low", "R_high", "note"]
        _print_table(result.table, f"{model} on {result.table['images'].iloc[0]} images of {data}", columns)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="Model, or weights file where --model says which network.")],
    second: Annotated[str, typer.Argument(help="The same, of the second model.")],
    model: Annotated[str | None, typer.Option(help="Network whose two weights files are compared.")] = None,
    data: Data = "digits",
    split: Split = None,
    count: Count = None,
    size: Size = None,
    normalize: Normalize = "auto",
    root: Root = None,
    weights: Annotated[str | None, typer.Option(help="Pretrained name for both models.")] = None,
    num_classes: Classes = None,
    in_channels: Channels = None,
    trust_code: Trust = False,
    displacement: Displacement = None,
    cutoff: Cutoff = 3,
    noise: Noise = NoiseKind.matched,
    layers: Layers = "auto",
    draws: Draws = 1,
    batch_size: Batch = "auto",
    precision: Precision = "float32",
    memory_format: Memory = "contiguous",
    bn: Norm = "eval",
    protocol: Protocol = "text",
    out: Out = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Compare two models under the same deformations and noise, with paired intervals on log R.

    Example: poolscope compare initial.safetensors trained.safetensors --model poolscope:minivgg --in-channels 1
    """
    folder = _folder(out)
    options = _options(
        displacement, cutoff, noise, layers, draws, seed, batch_size, device, precision, memory_format, bn, protocol
    )
    import poolscope as ps

    if first == second:
        raise ValueError(f"two different models are needed for a comparison; got {first} twice")
    named = {
        name: _load(model or name, name if model else weights, num_classes, in_channels, trust_code, seed)
        for name in (first, second)
    }
    images = _open(data, split, count, size, normalize, root, named[first])
    comparison = ps.compare(named, images=images, **options)
    comparison.result.record["command"] = " ".join(["poolscope", *sys.argv[1:]])
    if folder is not None:
        from poolscope._files import written_whole
        from poolscope.report import plot_sensitivities, save_figure

        comparison.result.save(folder / "measurement.parquet")
        with written_whole(folder / "comparison.parquet") as temporary:
            comparison.table.to_parquet(temporary)
        save_figure(plot_sensitivities(comparison.result.table), folder / "sensitivities")
    columns = ["layer", "R_first", "R_second", "log_ratio", "low", "high", "note"]
    _print_table(comparison.table, f"R of {first} (first) and {second} (second), paired over images", columns)


@app.command()
def deform(
    image: Annotated[Path | None, typer.Argument(help="A photograph (default: a digit).")] = None,
    size: Annotated[int, typer.Option(min=8, help="Pixels per side.")] = 224,
    cutoffs: Annotated[str, typer.Option(help="Cutoffs, with commas.")] = "2,3,5,10",
    out: Annotated[Path, typer.Option(help="Folder for deformations.png and .pdf; made if missing.")] = Path(
        "deformations"
    ),
    seed: Seed = 0,
) -> None:
    """Show a photograph under deformations: a grid of temperatures and cutoffs, the published range framed.

    Example: poolscope deform photo.jpg --out deformations
    """
    folder = _folder(out)
    assert folder is not None
    from poolscope.studies.deform import run

    if not all(part.strip().isdigit() for part in cutoffs.split(",")):
        raise ValueError(f"--cutoffs must be whole numbers with commas between; got {cutoffs!r}")
    files, table = run(folder, image, size=size, cutoffs=[int(part) for part in cutoffs.split(",")], seed=seed)
    _print_table(table, f"deformations of {size}x{size} pixels", list(table.columns))
    print(f"wrote {', '.join(str(path) for path in files)}")


@app.command()
def info(root: Root = None) -> None:
    """Print versions, devices and the data sets found.

    Example: poolscope info
    """
    from importlib import metadata

    import torch

    import poolscope as ps

    print(f"poolscope {ps.__version__}, Python {sys.version.split()[0]}, {torch.get_num_threads()} threads")
    for name in ("torch", "torchvision", "timm", "torchmetrics", "numpy", "pandas", "scikit-learn"):
        try:
            print(f"  {name:14s} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            print(f"  {name:14s} not installed")
    print(
        f"devices: "
        f"cpu{''.join(f', cuda:{n} ({torch.cuda.get_device_name(n)})' for n in range(torch.cuda.device_count()))}"
    )
    print("data sets:")
    for name in ("digits", "cifar10"):
        try:
            print(f"  {name:14s} {len(ps.open_images(name, root=root))} images")
        except (ImportError, FileNotFoundError, ValueError) as error:
            print(f"  {name:14s} not found: {' '.join(str(error).split())}")
    print("  imagefolder:DIR and parquet:FILE-or-DIR: your own")
