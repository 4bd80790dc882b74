"""Training by names: a network, a data set, a recipe, a seed, a folder."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from poolscope.sensitivity import measure as measure_images
from poolscope.training.configuration import Configuration, MeasureChoice
from poolscope.training.finished import Run
from poolscope.training.moves import deformations
from poolscope.training.prepare import Data, prepare_data, prepare_model
from poolscope.training.recipe import Recipe, load_recipe, validated
from poolscope.training.run import train_run


def train(
    model: str,
    data: str | Data,
    *,
    out: str | Path,
    recipe: str | Path | Recipe = "laptop",
    seed: int = 0,
    validation: int | Literal["test"] | None = None,
    train_images: int | None = None,
    eta: float = 0.0,
    noise: Literal["fresh", "frozen"] = "fresh",
    measure_at: Sequence[int | Literal["last"]] = (),
    measure: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    device: str = "auto",
    threads: int | None = None,
    trust_code: bool = False,
    say: Callable[[str], object] = print,
    progress: bool = True,
    **data_options: Any,
) -> Run:
    """Train a network of that name, in a folder, and return the finished run.

    The run can be killed at any moment: the same call goes on where it stopped and ends with the same weights, bit for
    bit, as if it had not been (same machine, versions and number of threads). A finished run is read, not repeated.

    Args:
        model: name, as for ``load_model``.
        data: name of a data set, as for ``open_images``, with splits "train" and "test" (others by ``train=`` and
            ``test=``); or what ``prepare_data`` made of one.
        out: the run's folder, made if missing.
        recipe: a name of ``recipe_names()``, a TOML file, or a `Recipe`.
        seed: of initial weights, order, augmentation, dropout and fresh noise.
        validation: so many training images are set aside to choose the best epoch by (default: a tenth); "test": the
            test images choose it, as in the paper's code, which makes the error reported too small.
        train_images: learn from a class-balanced subset of so many.
        eta: expected L2 norm of Gaussian noise on the normalised images, in training and in test.
        noise: "fresh" at every access, or "frozen", the same for each image for ever.
        measure_at: epochs at which D, G and R are measured, 0 before the first, "last" at the end.
        measure: how: fields of `MeasureChoice`, such as ``images`` or ``layers``.
        options: of the network's constructor, such as ``activation`` or ``width``.
        device: "auto", "cpu", "cuda".
        threads: of the CPU (default: torch's number); part of the configuration, because sums round by it.
        trust_code: allow networks of the form ``"module.path:factory"``, which import and run that module.
        say: told of each epoch.
        progress: show a bar with the time left, if standard error is a terminal.
        data_options: further ones of ``prepare_data``: ``train``, ``test``, ``size``, ``normalize``, ``root``,
            ``download``, ``cache``, ``data_seed``.

    Raises:
        ValueError: a wrong name or number, or a folder with a run of another configuration.
        FileNotFoundError: no such data or recipe.
        BlockingIOError: another process is at work in the folder.
        TrainingStopped: no space left; what was finished is intact.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    if isinstance(data, str):
        if "data_seed" in data_options:
            data_options["seed"] = data_options.pop("data_seed")
        data = prepare_data(data, images=train_images, validation=validation, eta=eta, noise=noise, **data_options)
    configuration = configure(
        model,
        data,
        recipe,
        seed=seed,
        measure_at=measure_at,
        measure=measure,
        options=options,
        device=device,
        threads=threads,
    )
    if not (Path(out) / "run.json").exists():
        rehearse(configuration, data, trust_code=trust_code)
    return train_run(configuration, data, out, say=say, progress=progress, trust_code=trust_code)


def configure(
    model: str,
    data: Data,
    recipe: Recipe,
    *,
    seed: int = 0,
    measure_at: Sequence[int | Literal["last"]] = (),
    measure: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> Configuration:
    """Return the configuration of a run; arguments as for `train`.

    Raises:
        ValueError: a weights file in the place of a network's name, a hinge loss and more than two classes, or a
            number out of range.
    """
    if str(model).endswith(".safetensors"):
        raise ValueError(
            f"training starts from initial weights, which the seed decides: give a network's name; got the file {model}"
        )
    if recipe.loss == "hinge" and data.classes != 2:
        raise ValueError(f"the hinge loss needs two classes, told by a sign; {data.choice.spec} has {data.classes}")
    outputs = 1 if recipe.loss == "hinge" else data.classes
    epochs = sorted({epoch for epoch in measure_at if epoch != "last"})
    if epochs and not 0 <= epochs[0] <= epochs[-1] <= recipe.epochs:
        raise ValueError(f"measure_at must be epochs in 0 .. {recipe.epochs}, or last; got {list(measure_at)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Configuration(
        model=model,
        options={"num_classes": outputs, "in_channels": data.channels, **(options or {})},
        data=data.choice,
        recipe=recipe,
        seed=seed,
        measure=validated(
            MeasureChoice, dict(at=tuple(epochs), last="last" in measure_at, **(measure or {})), "measure"
        ),
        device=device,
        threads=threads or torch.get_num_threads(),
    )


def rehearse(configuration: Configuration, data: Data, *, trust_code: bool = False) -> None:
    """Build the network and do on two images what the run will: a wrong choice shows before a folder holds it.

    Args:
        configuration: of the run to come.
        data: its images.
        trust_code: as for ``load_model``.

    Raises:
        ValueError: a network or layers that there are not, too few outputs for the classes, a cutoff too high for the
            images.
        TypeError: an option that the network does not take.
    """
    model = prepare_model(configuration, trust_code=trust_code).eval()
    images = data.measured(2)
    with torch.no_grad():
        outputs: object = model(images)
    shape = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else ()
    hinge = configuration.recipe.loss == "hinge"
    if len(shape) != 2 or (shape[1] != 1 if hinge else shape[1] < data.classes):
        wanted = "one number" if hinge else f"a number for each of {data.classes} classes"
        raise ValueError(f"the network must give an image {wanted}; got shape {shape} of two")
    choice = configuration.measure
    if not choice.at and not choice.last:
        return
    for deformation, _, _ in deformations(configuration, (images.shape[-2], images.shape[-1])):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the run itself warns
            measure_images(
                model,
                images,
                deformation,
                layers=choice.layers if isinstance(choice.layers, str) else list(choice.layers),
                progress=False,
            )
