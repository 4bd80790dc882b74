"""The command that trains."""

from __future__ import annotations

import inspect
import sys
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

#: Options that go with an experiment's name, which decides the rest.
_OF_EXPERIMENTS = {"model", "seeds", "out", "change", "device", "threads"}


def train(
    model: Annotated[
        str,
        typer.Argument(
            help="poolscope:NAME, torchvision:NAME, timm:NAME or module.path:factory; or an experiment on simple CNNs "
            "(task1-laptop; a TOML file)."
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            help="digits, cifar10, cifar100, imagefolder:DIR, parquet:DIR or scale-detection:..., with labels."
        ),
    ] = "digits",
    recipe: Annotated[
        str,
        typer.Option(
            help="A name that poolscope info --recipes lists, or a TOML file (default: digits for the digits, laptop "
            "for other images)."
        ),
    ] = "",
    seeds: Annotated[
        str, typer.Option(help="Such as 0-4 or 0,2,5: one independent run each, in a folder of its own.")
    ] = "0",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of runs, tables, pictures and report.html (default: runs/NAME). What was interrupted in it "
            "goes on."
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Another value for a field of the recipe: lr=0.05, flip=false, clip_norm=none; repeatable."
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Another number of epochs, more than warm up (--set warmup_epochs=0.5 changes that)."),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(
            help="So many training images are set aside to choose the best epoch by (default: a tenth); test: the test "
            "images choose it, as in the paper's code."
        ),
    ] = None,
    train_images: Annotated[
        int | None, typer.Option(min=1, help="Learn from a class-balanced subset of so many.")
    ] = None,
    eta: Annotated[
        float,
        typer.Option(
            min=0, help="Expected norm of Gaussian noise added to each normalised image, in training and in test."
        ),
    ] = 0.0,
    noise: Annotated[
        str, typer.Option(help="fresh: drawn anew at every access; frozen: always the same for an image.")
    ] = "fresh",
    measure_at: Annotated[
        str,
        typer.Option(
            help="Epochs after which D, G, R are measured, such as 0,1,3,last (0: the initial network); or none."
        ),
    ] = "0,last",
    measure_images: Annotated[
        int, typer.Option(min=2, help="Measure D, G, R on so many test images, class-balanced, at most.")
    ] = 1000,
    displacement: Displacements = None,
    cutoff: Cutoff = 3,
    layers: Layers = "auto",
    activation: Annotated[
        str | None,
        typer.Option(help="Instead of that of a poolscope: network: relu, tanh, swish, gelu, leaky_relu or softplus."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="Further argument of the network's constructor, such as width=0.5; repeatable."),
    ] = None,
    train_split: Annotated[str, typer.Option(help="Split to learn from.")] = "train",
    test_split: Annotated[str, typer.Option(help="Split to test and to measure on.")] = "test",
    size: Annotated[int | None, typer.Option(help="Resize the shorter side to this and cut the middle.")] = None,
    normalize: Annotated[str, typer.Option(help="auto (the data set's own), cifar10, imagenet or none.")] = "auto",
    root: Root = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch CIFAR's archive if it is absent.")] = False,
    data_seed: Annotated[
        int, typer.Option(min=0, help="Of subset, validation images and frozen noise: the same for all runs.")
    ] = 0,
    precision: Annotated[
        str | None, typer.Option(help="float32 or bf16-mixed, instead of the recipe's; see --trial.")
    ] = None,
    memory_format: Annotated[
        str | None, typer.Option(help="contiguous or channels_last, instead of the recipe's; see --trial.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads (default: torch's number); part of the run, for sums round by it."),
    ] = None,
    trial: Annotated[
        bool, typer.Option("--trial", help="Train nothing: time each precision and memory format here (half a minute).")
    ] = False,
    trust_code: Trust = False,
    device: Device = "auto",
) -> None:
    """Train a network, once for every seed; measure D, G, R on the way; draw curves and a page.

    The same command again goes on with what was interrupted, even killed, to the same weights, bit for bit.

    The simple CNNs of section 4 go by experiments, each a task, a network and a training (poolscope info --recipes):
    poolscope train task1-laptop --seeds 0-3

    Example: poolscope train poolscope:vgg11_bn --data cifar10 --seeds 0-2 --measure-at 0,1,3,last --out runs/vgg11_bn
    """
    arguments = dict(locals())
    if model.endswith((".toml", "-laptop", "-paper")) and ":" not in model.partition(".toml")[0]:
        from poolscope._cli_simple import train_simple_cnns

        usual = {name: each.default for name, each in inspect.signature(train).parameters.items()}
        given = {name for name, value in arguments.items() if value != usual[name]}
        if others := sorted(given - _OF_EXPERIMENTS):
            raise ValueError(
                "an experiment decides on data, network and training, so that only --seeds, --out, --set, --threads "
                f"and --device go with it; got {', '.join('--' + name.replace('_', '-') for name in others)}"
            )
        train_simple_cnns(model, _seeds(seeds), out, _fields(change, "--set"), device, threads)
        return
    fields: dict[str, Any] = {"precision": precision, "memory_format": memory_format, "epochs": epochs}
    chosen = {key: value for key, value in fields.items() if value is not None}
    chosen |= {key: None if value == "none" else value for key, value in _fields(change, "--set").items()}
    wanted = _seeds(seeds)
    sizes = numbers(displacement, "--displacement")
    at = _epochs(measure_at)
    held_out = _validation(validation)
    if noise not in ("fresh", "frozen"):
        raise ValueError(f"--noise must be fresh or frozen; got {noise!r}")
    options = {**({"activation": activation} if activation else {}), **_fields(option, "--option")}

    from poolscope.training import load_recipe, prepare_data
    from poolscope.training.launch import configure

    how = load_recipe(recipe or ("digits" if data == "digits" else "laptop")).changed(**chosen)
    folder = None if trial else made_folder(out or Path("runs") / model.rpartition(":")[2])
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
    columns = ["seed", "status", "epochs", "best_epoch", "selected_by", "best_validation_error", "best_test_error"]
    print_table(trained.outcomes, f"{model} on {data}", [*columns, "training_error", "seconds"])
    for _, said in trained.summary():
        print("\n".join(said))
    trained.save(folder, {"command": command_line(), "configuration": trained.runs[0].configuration.plain()})
    print(f"open {folder / 'report.html'}")
    if not trained.finished:
        reasons = dict.fromkeys(run.outcome["reason"] for run in trained.runs)
        print(f"poolscope: every run is dead: {'; '.join(reasons)}", file=sys.stderr)
        raise typer.Exit(1)


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
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or int(last or first) < int(first):
            raise ValueError(f"--seeds must be whole numbers from 0, like 0-4 or 0,2,5; got {text!r}")
        seeds += range(int(first), int(last or first) + 1)
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds must be different seeds, each is a run; got {text!r}")
    return seeds


def _epochs(text: str) -> list[Any]:
    """Return the epochs of "0,1,3,last"."""
    if text == "none":
        return []
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() or part == "last" for part in parts):
        raise ValueError(f"--measure-at must be epochs with commas, the end as last, or none; got {text!r}")
    return [part if part == "last" else int(part) for part in parts]


def _validation(text: str | None) -> Any:
    """Return a number of images, "test" or None."""
    if text is None or text == "test":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"--validation must be a number of training images from 1, or test; got {text!r}")
    return int(text)
