"""The command that trains."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from poolscope._options import (
    Cutoff,
    Device,
    Displacements,
    Layers,
    Root,
    Trust,
    command_line,
    made_folder,
    numbers,
    print_table,
)


def train(
    model: Annotated[str, typer.Argument(help="poolscope:NAME, torchvision:NAME, timm:NAME or module.path:factory.")],
    data: Annotated[
        str, typer.Option(help="digits, cifar10, cifar100, imagefolder:DIR or parquet:DIR, with labels.")
    ] = "digits",
    recipe: Annotated[
        str,
        typer.Option(help="Name (poolscope info --recipes) or a TOML file. Default: digits for digits, else laptop."),
    ] = "",
    seeds: Annotated[str, typer.Option(help="Such as 0-4 or 0,2,5; every seed is an independent run.")] = "0",
    out: Annotated[Path | None, typer.Option(help="Folder of the runs (default: runs/NAME); they go on there.")] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Another value of a recipe's field, as lr=0.05; repeatable.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Another number of epochs.")] = None,
    validation: Annotated[
        str | None,
        typer.Option(
            help="Training images set aside to choose the epoch (default: a tenth); test: as the paper's code."
        ),
    ] = None,
    train_images: Annotated[int | None, typer.Option(min=1, help="A class-balanced subset to learn from.")] = None,
    eta: Annotated[float, typer.Option(min=0, help="Norm of Gaussian noise on the normalised images.")] = 0.0,
    noise: Annotated[str, typer.Option(help="fresh at every access, or frozen for each image.")] = "fresh",
    measure_at: Annotated[
        str, typer.Option(help="Epochs at which D, G, R are measured: 0,1,3,last; none: at no time.")
    ] = "0,last",
    measure_images: Annotated[int, typer.Option(min=2, help="On so many test images.")] = 1000,
    displacement: Displacements = None,
    cutoff: Cutoff = 3,
    layers: Layers = "auto",
    activation: Annotated[
        str | None, typer.Option(help="relu, tanh, swish, gelu, leaky_relu or softplus, of poolscope's networks.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Further one of the network's constructor, as width=0.5; repeatable.")
    ] = None,
    train_split: Annotated[str, typer.Option(help="Split to learn from.")] = "train",
    test_split: Annotated[str, typer.Option(help="Split to judge on.")] = "test",
    size: Annotated[int | None, typer.Option(help="Resize the shorter side to this and cut the middle.")] = None,
    normalize: Annotated[str, typer.Option(help="auto (the data set's own), cifar10, imagenet or none.")] = "auto",
    root: Root = None,
    download: Annotated[bool, typer.Option(help="Fetch CIFAR's archive if it is absent.")] = False,
    data_seed: Annotated[int, typer.Option(min=0, help="Of subset, validation images, frozen noise.")] = 0,
    precision: Annotated[str | None, typer.Option(help="float32 or bf16-mixed, instead of the recipe's.")] = None,
    memory_format: Annotated[str | None, typer.Option(help="contiguous or channels_last, instead of it.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the CPU; sums round by it.")] = None,
    trial: Annotated[bool, typer.Option("--trial", help="Only time precisions and memory formats here.")] = False,
    trust_code: Trust = False,
    device: Device = "auto",
) -> None:
    """Train a network, once for every seed; measure D, G, R on the way; draw curves and a page.

    A run that was interrupted, even killed, goes on by the same command, and ends with the same weights bit for bit.

    Example: poolscope train poolscope:vgg11_bn --data cifar10 --seeds 0-2 --measure-at 0,1,3,last --out runs/vgg11_bn
    """
    chosen = {"precision": precision, "memory_format": memory_format, "epochs": epochs, **_fields(change, "--set")}
    chosen = {key: value for key, value in chosen.items() if value is not None}
    wanted = _seeds(seeds)
    sizes = numbers(displacement, "--displacement")
    at = _epochs(measure_at)
    held_out = _validation(validation)
    if noise not in ("fresh", "frozen"):
        raise ValueError(f"--noise must be fresh or frozen; got {noise!r}")
    options = {**({"activation": activation} if activation else {}), **_fields(option, "--option")}
    folder = None if trial else made_folder(out or Path("runs") / model.rpartition(":")[2])

    from poolscope.training import load_recipe, prepare_data
    from poolscope.training.launch import configure

    how = load_recipe(recipe or ("digits" if data == "digits" else "laptop")).changed(**chosen)
    images = prepare_data(
        data,
        train=train_split,
        test=test_split,
        images=train_images,
        validation=held_out,
        seed=data_seed,
        eta=eta,
        noise=noise,
        size=size,
        normalize=normalize,
        root=root,
        download=download,
        progress=True,
    )
    settings: dict[str, Any] = {
        "measure_at": at,
        "measure": {
            "images": measure_images,
            "layers": tuple(layers.split(",")) if "," in layers else layers,
            "displacement": tuple(sizes or ()),
            "cutoff": cutoff,
        },
        "options": options,
        "device": device,
        "threads": threads,
    }
    if trial:
        from poolscope.training.trial import time_steps

        table = time_steps(configure(model, images, how, **settings), images, trust_code=trust_code)
        print_table(table, f"training steps of {model}, batch {how.batch_size}", list(table.columns))
        best = table.iloc[0]
        print(f"fastest here: --precision {best['precision']} --memory-format {best['memory_format']}")
        return
    assert folder is not None
    from poolscope.studies.train import run

    trained = run(model, images, how, seeds=wanted, out=folder, trust_code=trust_code, **settings)
    columns = ["seed", "status", "epochs", "best_epoch", "best_validation_error", "best_test_error", "training_error"]
    print_table(trained.outcomes, f"{model} on {data}", [*columns, "seconds"])
    for _, said in trained.summary():
        print("\n".join(said))
    trained.save(folder, {"command": command_line(), "configuration": trained.runs[0].configuration.plain()})
    print(f"open {folder / 'report.html'}")
    if not trained.finished:
        raise RuntimeError("every run is dead: " + "; ".join(run.outcome["reason"] for run in trained.runs))


def _fields(pairs: list[str] | None, option: str) -> dict[str, Any]:
    """Return the values of key=value pairs, read as TOML, or as words where they are not."""
    fields: dict[str, Any] = {}
    for pair in pairs or []:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"{option} must be like name=value; got {pair!r}")
        try:
            fields[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            fields[key] = text
    return fields


def _seeds(text: str) -> list[int]:
    """Return the seeds of "0-4" or "0,2,5"."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"--seeds must be whole numbers from 0, like 0-4 or 0,2,5; got {text!r}")
        seeds += range(int(first), int(last if dash else first) + 1)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds must be different seeds, at least one; got {text!r}")
    return seeds


def _epochs(text: str) -> list[Any]:
    """Return the epochs of "0,1,3,last"."""
    if text == "none":
        return []
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() or part == "last" for part in parts):
        raise ValueError(f"--measure-at must be epochs with commas, the end as last, or none; got {text!r}")
    return [part if part == "last" else int(part) for part in parts]


def _validation(text: str | None) -> Any:
    """Return a number of images, "test" or None."""
    if text is None or text == "test":
        return text
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"--validation must be a number of training images from 1, or test; got {text!r}")
    return int(text)
