"""Models by name: ours, torchvision's, timm's, or those of a module of your own."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from poolscope.networks.build import build, preprocessing_of
from poolscope.networks.image_format import Preprocessing, timm_preprocessing
from poolscope.networks.origin import Origin, Recipe, origins, preprocessing_in, recipe_in
from poolscope.networks.weights import WEIGHT_SUFFIXES, fit_weights, set_weights, weights_and_facts, weights_facts


def load_model(
    name: str | Path,
    *,
    weights: str | Path | bool | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    trust_code: bool = False,
    seed: int | None = None,
    **options: Any,
) -> nn.Module:
    """The model of that name, on the CPU, in evaluation mode.

    Args:
        name: ``"poolscope:NAME"`` (``fullconn2``, ``fullconn4``, ``fullconn6``, ``lenet``, ``alexnet``, ``vgg11``,
            ``vgg13``, ``vgg16``, ``vgg19``, each also with ``_bn``, ``resnet18``, ``resnet34``, ``resnet50``,
            ``efficientnet_b0``, and ``minivgg``, a ``vgg11_bn`` of a quarter of the width), ``"torchvision:NAME"``,
            ``"timm:NAME"``, or ``"module.path:factory"``, a function of yours which returns the model. Or the file
            ``*.safetensors`` which `write_weights` made of such a model: network, weights and preprocessing.
        weights: ``None`` for random ones; a pretrained name (``"DEFAULT"`` or ``True``; ``"IMAGENET1K_V1"`` and the
            like of torchvision; a tag of timm); or a file, ``*.safetensors`` or ``*.pt`` / ``*.pth``.
        num_classes: number of outputs, handed to the model's constructor. The default is the constructor's own.
        in_channels: channels of the images. torchvision's models are built for three channels, and their first
            convolution is then replaced by a fresh one with random weights; other constructors are handed it.
        trust_code: allow names of the form ``"module.path:factory"``, which import and run that module.
        seed: draw the random weights from this seed, leaving torch's generator as it was. Without it they come from
            torch's global generator, as with any constructor.
        options: further arguments of the constructor (``width=0.5``, ``padding=2``, ``activation="swish"``,
            ``beta=0.5``, ``img_size=32``, ...).

    Raises:
        ValueError: unknown name (with close matches), unknown pretrained name, weights of other shapes, damaged or in
            a file that would run code, a ``seed`` outside 0 .. 2³² - 1, a module of yours without ``trust_code``; for
            a file: one that does not say of which network it is, or arguments that it does not agree with.
        TypeError: an option the constructor does not know, or a factory that returns something else than a model.
        FileNotFoundError: no such weights file.
        ImportError: the library the name asks for is not installed.
    """
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"num_classes must be at least 1; got {num_classes}")
    if in_channels is not None and in_channels < 1:
        raise ValueError(f"in_channels must be at least 1; got {in_channels}")
    if _is_file(name):
        return _load_file(Path(name), weights, num_classes, in_channels, trust_code, options)
    name = str(name)
    file, pretrained = _split_weights(weights)
    with _seeded(seed):
        built = build(Recipe(name, num_classes, in_channels, options), pretrained, trust_code)
    if file is not None:
        set_weights(built.model, file)
    origins[built.model] = Origin(name, built.wanted, built.recipe)
    return built.model.eval()


def _load_file(
    path: Path,
    weights: str | Path | bool | None,
    num_classes: int | None,
    in_channels: int | None,
    trust_code: bool,
    options: dict[str, Any],
) -> nn.Module:
    """Build the network a weights file says it is of, and load the weights."""
    if weights is not None and weights is not False:
        raise ValueError(f"weights must be left out where the model is a file, which holds them; got {weights!r}")
    if options:
        raise ValueError(
            f"options must be left out where the model is a file, which says them; got {', '.join(options)}"
        )
    values, facts = weights_and_facts(path)
    recipe = recipe_in(facts, path)
    for name, given, noted in (
        ("num_classes", num_classes, recipe.num_classes),
        ("in_channels", in_channels, recipe.in_channels),
    ):
        if given is not None and noted is not None and given != noted:
            raise ValueError(f"{name} must be that of the network in {path}, {noted}; got {given}")
    recipe = recipe._replace(
        num_classes=num_classes if recipe.num_classes is None else recipe.num_classes,
        in_channels=in_channels if recipe.in_channels is None else recipe.in_channels,
    )
    with _seeded(0):  # the weights drawn are all replaced; the generator stays as it was
        built = build(recipe, None, trust_code)
    fit_weights(built.model, values, path)
    origins[built.model] = Origin(recipe.name, preprocessing_in(facts, path) or built.wanted, built.recipe)
    return built.model.eval()


def preprocessing(model_or_name: nn.Module | str | Path) -> Preprocessing | None:
    """What a model, or the one `load_model` makes of a name or file, wants its images to be; ``None`` if unknown.

    Known for models made by `load_model` from the libraries' names (torchvision: classification only) and for timm
    models however made.

    Raises:
        ValueError: if a name is unknown. The name of a factory of yours is not imported and gives ``None``.
    """
    if isinstance(model_or_name, nn.Module):
        if model_or_name in origins:
            return origins[model_or_name].preprocessing
        config = getattr(model_or_name, "pretrained_cfg", None)
        return timm_preprocessing(config, channels=None, size=None) if isinstance(config, dict) and config else None
    if _is_file(model_or_name):
        return preprocessing_in(weights_facts(model_or_name), Path(model_or_name))
    return preprocessing_of(str(model_or_name))


def _is_file(name: str | Path) -> bool:
    return Path(name).suffix == ".safetensors"


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    if seed is None:
        yield
        return
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be in 0 .. 2**32 - 1, torch's CPU generator uses no more bits; got {seed}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _split_weights(weights: str | Path | bool | None) -> tuple[Path | None, str | None]:
    """(file, None), (None, pretrained name) or, for random weights, (None, None)."""
    if weights is None or weights is False:
        return None, None
    if weights is True or weights == "pretrained":
        return None, "DEFAULT"
    if isinstance(weights, Path) or Path(weights).suffix in WEIGHT_SUFFIXES or "/" in weights:
        return Path(weights), None
    return None, weights
