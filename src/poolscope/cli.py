"""The command line: thin, every command a few calls of the library. Exit codes: 0 done, 1 a run failed, 2 bad input."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from poolscope._cli_measure import compare, measure, spectrum
from poolscope._cli_points import trained_networks
from poolscope._cli_reproduce import reproduce
from poolscope._cli_theory import theory
from poolscope._cli_train import train
from poolscope._options import (
    Remarks,
    Root,
    Seed,
    command_line,
    made_folder,
    print_table,
)

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


app.command()(measure)
app.command()(train)
app.command()(theory)
app.command()(reproduce)
app.command()(compare)
app.command()(spectrum)


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
