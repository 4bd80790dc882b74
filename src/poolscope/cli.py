"""The command line: thin, every command a few calls of the library. Exit codes: 0 done, 1 a run failed, 2 bad input."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poolscope._cli_points import trained_networks
from poolscope._cli_reproduce import reproduce
from poolscope._cli_theory import theory
from poolscope._cli_train import train
from poolscope._options import (
    Batch,
    Channels,
    Classes,
    Count,
    Cutoff,
    Data,
    Device,
    Displacement,
    Displacements,
    Draws,
    Layers,
    Memory,
    Noise,
    NoiseKind,
    Norm,
    Normalize,
    Out,
    Precision,
    Protocol,
    Remarks,
    Root,
    Seed,
    Size,
    Split,
    Trust,
    Weights,
    command_line,
    loaded,
    made_folder,
    measure_options,
    numbers,
    opened,
    print_table,
    processes,
    single_moves,
)

if TYPE_CHECKING:
    from poolscope.studies.findings import Findings

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="How a trained network loses spatial information: D, G and R, layer by layer.",
)

#: Errors that mean bad input; anything else is a run that failed.
_BAD_INPUT = (ValueError, TypeError, FileNotFoundError, NotADirectoryError, PermissionError, ImportError)


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        code = app(standalone_mode=False)
    except KeyboardInterrupt:
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
        elif type(error).__name__ in ("TrainingStopped", "BlockingIOError"):  # they say what to do
            _complain(str(error))
            code = 1
        else:
            if os.environ.get("POOLSCOPE_TRACEBACK"):
                raise
            _complain(f"failed with {type(error).__name__}: {error} (POOLSCOPE_TRACEBACK=1 shows where)")
            code = 1
    if code == 130:  # some versions of typer raise, others return it
        _complain("interrupted")
    sys.stdout.flush()
    sys.exit(code or 0)


def _complain(message: str) -> None:
    print(f"poolscope: {' '.join(message.split())}", file=sys.stderr)


def _show(found: Findings, title: str) -> None:
    """Print what the network and, if channels were shuffled, its shuffled copies do, and what follows."""
    table = found.results[~found.results["variant"].isin(["shuffled", "gaussian_filters"])]
    columns = ["layer", "D", "D_se", "G", "G_se", "R", "R_low", "R_high"]
    more = [name for name in ("displacement", "variant") if name in table and table[name].nunique() > 1]
    print_table(table, title, [*more, *columns, "note"])
    if found.shares is not None:
        columns = ["layer", "R", "R_shuffled", "spatial_share", "spatial_share_low", "spatial_share_high", "note"]
        more = ["displacement"] if found.shares["displacement"].nunique() > 1 else []
        print_table(found.shares, "share of the fall of R that shuffling channels leaves", [*more, *columns])
    for line in found.summary():
        print(line)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for weights, tables, pictures and report.html.")] = Path(
        "demo-report"
    ),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 20,
    seed: Seed = 0,
) -> None:
    """Train a small network on scikit-learn's digits and measure it before and after (a minute or two).

    Example: poolscope demo --out demo-report
    """
    folder = made_folder(out)
    assert folder is not None
    from poolscope.studies.demo import run

    found = run(folder, epochs=epochs, seed=seed)
    contrasts = found.findings.contrasts
    assert contrasts is not None
    rows = contrasts[(contrasts["layer"] == "output") & (contrasts["second"] == "trained")]
    columns = ["displacement", "R_first", "R_second", "log_ratio", "low", "high"]
    print_table(rows, "R of the output, initial (first) and trained (second) network", columns)
    for line in found.findings.summary():
        print(line)
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
    displacement: Displacements = None,
    cutoff: Cutoff = 3,
    moves: Annotated[
        str | None,
        typer.Option(
            help="Move single pixels instead: left-right, neighbour-or-stay or rounded-direction (default for "
            "scale-detection tasks: neighbour-or-stay)."
        ),
    ] = None,
    noise: Noise = NoiseKind.matched,
    layers: Layers = "auto",
    draws: Draws = 1,
    batch_size: Batch = "auto",
    precision: Precision = "float32",
    memory_format: Memory = "contiguous",
    bn: Norm = "eval",
    protocol: Protocol = "text",
    initial: Annotated[str | None, typer.Option(help="Weights file from before training, measured beside.")] = None,
    shuffle: Annotated[int, typer.Option(min=0, help="Copies with shuffled channels, to tell spatial pooling.")] = 0,
    shuffle_mode: Annotated[
        str, typer.Option(help="independent, shared, published or published-outputs: who shares a permutation.")
    ] = "independent",
    shuffle_layers: Annotated[
        str, typer.Option(help="Convolutions to shuffle: all, a regular expression, or names with commas.")
    ] = "all",
    keep_colours: Annotated[bool, typer.Option(help="Leave the first convolution, which reads the image.")] = False,
    recalibrate: Annotated[bool, typer.Option(help="Estimate batch norms of shuffled copies anew.")] = False,
    controls: Annotated[
        str, typer.Option(help="More variants, with commas: mean_channel, mean_filters, gaussian_filters.")
    ] = "",
    remark: Remarks = None,
    out: Out = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Measure D, G and R of one model, layer by layer; with --out also its filters, as tables, pictures and a page.

    Under torchrun the processes share the images (without --shuffle, --initial and --controls).

    Example: poolscope measure torchvision:resnet18 --weights DEFAULT --data imagefolder:photos --shuffle 8 --out r18
    """
    folder = made_folder(out)
    sizes = numbers(displacement, "--displacement")
    several = sizes is not None and len(sizes) > 1
    options = measure_options(
        sizes[0] if sizes else None,
        cutoff,
        noise,
        layers,
        draws,
        seed,
        batch_size,
        device,
        precision,
        memory_format,
        bn,
        protocol,
    )
    shift = single_moves(data, moves, sizes)
    if shift is not None:
        options["deformation"] = shift
    import poolscope as ps
    from poolscope.studies.findings import Findings
    from poolscope.studies.measure import run, samples_of, spectrum_of

    with processes(device) as (group, rank):
        network = loaded(model, weights, num_classes, in_channels, trust_code, seed)
        images = opened(data, split, count, size, normalize, root, network)
        if group is not None:
            if shuffle or initial or controls or several:
                raise ValueError(
                    "under torchrun --shuffle, --initial, --controls and several displacements must be left out: they "
                    "run in one process; got at least one of them"
                )
            result = ps.measure(network, images, **options, process_group=group)
            if rank:
                return
            samples = samples_of(network, images, options["deformation"], options["noise"], seed)
            found = Findings(result.table, result.record, spectrum=spectrum_of(network, None, model), samples=samples)
        else:
            options["perturbations"] = options.pop("draws")
            if several:
                options |= {"deformation": None, "displacement": sizes, "cutoff": cutoff}
            found = run(
                network,
                images,
                initial=loaded(model, initial, num_classes, in_channels, trust_code, seed) if initial else None,
                draws=shuffle,
                mode=shuffle_mode,
                convolutions=shuffle_layers.split(",") if "," in shuffle_layers else shuffle_layers,
                image_channels=not keep_colours,
                recalibrate=recalibrate,
                controls=[each.strip() for each in controls.split(",") if each.strip()],
                **options,
            )
        found.record |= {"command": command_line(), "weights": weights, "initial": initial}
        found.remarks = remark or []
        _show(found, f"{model} on {found.results['images'].iloc[0]} images of {data}")
        if folder is not None:
            found.save(folder, f"Where {model} loses spatial information")
            print(f"open {folder / 'report.html'}")


app.command()(train)
app.command()(theory)
app.command()(reproduce)


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
    folder = made_folder(out)
    options = measure_options(
        displacement, cutoff, noise, layers, draws, seed, batch_size, device, precision, memory_format, bn, protocol
    )
    import poolscope as ps

    if first == second:
        raise ValueError(f"two different models are needed for a comparison; got {first} twice")
    names = [first, second]
    if model and Path(first).stem != Path(second).stem:
        names = [Path(first).stem, Path(second).stem]  # whole paths would drown the page
    named = {
        name: loaded(model or file, file if model else weights, num_classes, in_channels, trust_code, seed)
        for name, file in zip(names, (first, second), strict=True)
    }
    images = opened(data, split, count, size, normalize, root, named[names[0]])
    comparison = ps.compare(named, images=images, **options)
    columns = ["layer", "R_first", "R_second", "log_ratio", "low", "high", "note"]
    print_table(comparison.table, f"R of {names[0]} (first) and {names[1]} (second), paired over images", columns)
    if folder is not None:
        import pandas as pd

        from poolscope.studies.findings import Findings
        from poolscope.studies.measure import samples_of, spectrum_of

        spectra = [table for key, each in named.items() if (table := spectrum_of(each, None, key)) is not None]
        found = Findings(
            comparison.result.table,
            {**comparison.record, "command": command_line(), "weights": [first, second] if model else weights},
            contrasts=comparison.table,
            spectrum=pd.concat(spectra, ignore_index=True) if spectra else None,
            samples=samples_of(named[names[0]], images, options["deformation"], options["noise"], seed),
        )
        found.save(folder, f"{names[0]} and {names[1]}")
        print(f"open {folder / 'report.html'}")


@app.command()
def spectrum(
    model: Annotated[str, typer.Argument(help="poolscope:NAME, torchvision:NAME, timm:NAME or module.path:factory.")],
    weights: Weights = None,
    initial: Annotated[str | None, typer.Option(help="Weights file from before training.")] = None,
    num_classes: Classes = None,
    in_channels: Channels = None,
    trust_code: Trust = False,
    out: Out = None,
    seed: Seed = 0,
) -> None:
    """Show how smooth each convolution's filters are: their power by spatial frequency, against white filters.

    Example: poolscope spectrum torchvision:vgg16 --weights DEFAULT --out vgg16-filters
    """
    folder = made_folder(out)
    from poolscope.pooling import filter_spectrum, frequency_content

    network = loaded(model, weights, num_classes, in_channels, trust_code, seed)
    before = loaded(model, initial, num_classes, in_channels, trust_code, seed) if initial else None
    table = filter_spectrum(network, initial=before, name=model)
    if table.empty:
        raise ValueError(f"the model must have a convolution, to have filters; {model} has none")
    constant = table[table["level"] == 0].drop(columns=["frequency_se", "position", "model"])
    shown = frequency_content(table).merge(constant, on="layer", how="right")
    columns = ["layer", "kernel", "frequency", "frequency_se", "init_frequency"]
    columns += ["share", "share_se", "white_share", "note"]
    print_table(shown, f"filters of {model}: mean frequency (white: 1), share of the constant mode", columns)
    if folder is not None:
        from poolscope.studies.spectrum import write

        write(folder, model, table, {"model": model, "weights": weights, "initial": initial, "command": command_line()})
        print(f"open {folder / 'report.html'}")


@app.command()
def report(
    saved: Annotated[
        list[Path], typer.Argument(help="Folders that measure or compare wrote, or saved results; or those of train.")
    ],
    title: Annotated[str | None, typer.Option(help="Of the page.")] = None,
    remark: Remarks = None,
    out: Annotated[Path, typer.Option(help="Folder for report.html and pictures; made if missing.")] = Path("report"),
) -> None:
    """Make one page from saved results: several models side by side; of trained ones, error against D, G and R.

    Example: poolscope report resnet18 vgg16 --out both
    """
    from poolscope.studies.findings import read_findings, side_by_side

    if len({path.resolve() for path in saved}) < len(saved):
        raise ValueError(f"every saved result must be given once; got {', '.join(map(str, saved))}")
    if trained_networks(saved, out):
        return
    read = [read_findings(path) for path in saved]
    folder = made_folder(out)
    assert folder is not None
    found = side_by_side(read, [path.stem if path.is_file() else path.resolve().name for path in saved])
    found.remarks = [*found.remarks, *(remark or [])]
    found.save(folder, title or " and ".join(dict.fromkeys(map(str, found.results["model"]))))
    for line in found.summary():
        print(line)
    print(f"open {folder / 'report.html'}")


@app.command()
def deform(
    image: Annotated[Path | None, typer.Argument(help="A photograph (default: a digit).")] = None,
    size: Annotated[int, typer.Option(min=8, help="Pixels per side.")] = 224,
    cutoffs: Annotated[str, typer.Option(help="Cutoffs, with commas.")] = "2,3,5,10",
    task: Annotated[
        str | None,
        typer.Option(help="Instead: a task, such as scale-detection:task=1,dim=2,length=32,scale=14,gap=2."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for pictures (PNG, PDF); made if missing.")] = Path("deformations"),
    seed: Seed = 0,
) -> None:
    """Show a photograph under deformations: a grid of temperatures and cutoffs, the published range framed.

    With --task: inputs of both labels (figure 5), moves of their pixels, and which labels these flip.

    Example: poolscope deform photo.jpg --out deformations
    """
    if task is not None:
        if image is not None or size != 224 or cutoffs != "2,3,5,10":
            raise ValueError(
                "a photograph, --size and --cutoffs must be left out with --task, whose pixels move one by one; got "
                f"{task}"
            )
        from poolscope.studies.deform_task import run as run_task

        displaced = run_task(task, seed=seed)
        print_table(displaced.table, f"moves of {task}", list(displaced.table.columns))
        for _, said in displaced.summary():
            print("\n".join(said))
        folder = made_folder(out)
        assert folder is not None
        displaced.save(folder, {"command": command_line(), "seed": seed})
        print(f"open {folder / 'report.html'}")
        return
    folder = made_folder(out)
    assert folder is not None
    from poolscope.studies.deform import run

    if not all(part.strip().isdigit() for part in cutoffs.split(",")):
        raise ValueError(f"--cutoffs must be whole numbers with commas between; got {cutoffs!r}")
    files, table = run(folder, image, size=size, cutoffs=[int(part) for part in cutoffs.split(",")], seed=seed)
    print_table(table, f"deformations of {size}x{size} pixels", list(table.columns))
    print(f"wrote {', '.join(str(path) for path in files)}")


@app.command()
def info(
    root: Root = None,
    models: Annotated[bool, typer.Option("--models", help="The paper's networks and their sizes instead.")] = False,
    recipes: Annotated[bool, typer.Option("--recipes", help="The recipes of train instead.")] = False,
) -> None:
    """Print versions, devices and the data sets found; or the paper's networks, or the recipes.

    Example: poolscope info --models
    """
    if models:
        from poolscope.networks import table_c1

        table = table_c1()
        short = {"fully_connected_layers": "linear", "batch_norm": "norm", "skip_connections": "skip"}
        shown = table.rename(columns={**short, "parameters_printed": "printed", "parameters": "counted here"})
        columns = [column for column in shown.columns if column != "note"]
        print_table(shown, "Table C1, beside the parameters counted here at 3x32x32 and 10 classes", columns)
        for note, rows in table[table["note"] != ""].groupby("note", sort=False):
            print(f"{', '.join(rows['name'])}: {note}")
        return
    if recipes:
        from poolscope.training import Recipe, load_recipe, recipe_names
        from poolscope.training.simple import Experiment, experiment_names, load_experiment

        known: dict[str, Recipe | Experiment] = {name: load_recipe(name) for name in recipe_names()}
        known |= {name: load_experiment(name) for name in experiment_names()}
        for name, recipe in known.items():
            print(f"{name}: {recipe.description}")
            given = recipe.model_dump(exclude={"description"}, exclude_defaults=True)
            print(f"    {', '.join(f'{key} {value}' for key, value in given.items())}")
        return
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
    for name in ("digits", "cifar10", "cifar100"):
        try:
            print(f"  {name:14s} {len(ps.open_images(name, root=root))} images")
        except (ImportError, FileNotFoundError, ValueError) as error:
            print(f"  {name:14s} not found: {' '.join(str(error).split())}")
    print("  imagefolder:DIR and parquet:FILE-or-DIR: your own")
