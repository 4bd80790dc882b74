"""Building the model of a name: ours, torchvision's, timm's, or those of a module of your own."""

import contextlib
import difflib
import importlib
import inspect
import operator
import pickle
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import urlparse

import torch
from torch import nn

from poolscope._torchvision import import_timm, import_torchvision
from poolscope.networks.catalogue import NETWORKS
from poolscope.networks.image_format import (
    Preprocessing,
    cifar_preprocessing,
    timm_preprocessing,
    torchvision_preprocessing,
)
from poolscope.networks.origin import Recipe


class Built(NamedTuple):
    """A model, what its images are to be, and how to build it again without pretrained weights."""

    model: nn.Module
    wanted: Preprocessing | None
    recipe: Recipe


def build(recipe: Recipe, pretrained: str | None, trust_code: bool) -> Built:
    """Return the network of a recipe, with random or pretrained weights.

    Raises:
        ValueError, TypeError, ImportError: as `load_model`.
    """
    library, name = split_name(recipe.name)
    match library:
        case "poolscope":
            return _build_ours(name, recipe, pretrained)
        case "torchvision":
            return _build_torchvision(name, recipe, pretrained)
        case "timm":
            return _build_timm(name, recipe, pretrained)
    if not trust_code:
        raise ValueError(_untrusted(recipe.name, library))
    return _build_with_factory(library, name, recipe, pretrained)


def preprocessing_of(full_name: str) -> Preprocessing | None:
    """Return what the model of a name wants its images to be, where the name tells.

    Raises:
        ValueError: the name is unknown.
    """
    library, name = split_name(full_name)
    match library:
        case "poolscope":
            _require_known("poolscope", name, NETWORKS)
            return None if name == "simplecnn" else cifar_preprocessing(channels=3, size=32, padding=0)
        case "torchvision":
            models = import_torchvision().models
            _require_known("torchvision", name, models.list_models())
            return torchvision_preprocessing(_default_weights(name).transforms(), channels=3, size=None)
        case "timm":
            timm = import_timm()
            _require_known("timm", name, _timm_names(timm, name))
            config = timm.get_pretrained_cfg(name)
            return timm_preprocessing(config.to_dict() if config else {}, channels=None, size=None)
    return None


def _build_ours(name: str, recipe: Recipe, pretrained: str | None) -> Built:
    _require_known("poolscope", name, NETWORKS)
    if pretrained is not None:
        raise ValueError(f"weights of poolscope:{name} must be a file, none are published; got {pretrained!r}")
    defaults = inspect.signature(NETWORKS[name]).parameters
    classes = defaults["num_classes"].default if recipe.num_classes is None else recipe.num_classes
    channels = defaults["in_channels"].default if recipe.in_channels is None else recipe.in_channels
    options = recipe.options
    model = NETWORKS[name](num_classes=classes, in_channels=channels, **options)
    wanted = None  # the simple CNNs take any size, and images as they are
    if name != "simplecnn":
        wanted = cifar_preprocessing(channels=channels, size=options.get("size", 32), padding=options.get("padding", 0))
    return Built(model, wanted, recipe._replace(num_classes=classes, in_channels=channels))


def _build_torchvision(name: str, recipe: Recipe, pretrained: str | None) -> Built:
    models = import_torchvision().models
    _require_known("torchvision", name, models.list_models())
    weights = _torchvision_weights(name, pretrained)
    arguments = dict(recipe.options)
    num_classes = recipe.num_classes
    if num_classes is not None:
        known = len(weights.meta.get("categories", ())) if weights else 0
        if known and known != num_classes:
            raise ValueError(f"num_classes must be that of the pretrained weights, {known}; got {num_classes}")
        arguments["num_classes"] = num_classes
    if "weights_backbone" in inspect.signature(models.get_model_builder(name)).parameters:
        arguments.setdefault("weights_backbone", None)  # else random weights would download a pretrained backbone
    if name in ("googlenet", "inception_v3") and weights is None:
        arguments.setdefault("init_weights", True)  # as their default, without the warning that it may change
    if weights is not None:
        _refuse_code(weights)
    model: nn.Module = models.get_model(name, weights=weights, **arguments)
    if recipe.in_channels is not None:
        _replace_stem(model, recipe.in_channels)
    transforms = (weights or _default_weights(name)).transforms()
    size = recipe.options.get("image_size")
    wanted = torchvision_preprocessing(transforms, channels=recipe.in_channels or 3, size=size)
    return Built(model, wanted, _without_pretrained(recipe, model, weights) if weights else recipe)


def _refuse_code(weights: Any) -> None:
    """Fetch the file of torchvision's weights and read it as numbers alone, for torchvision would run code in it.

    Raises:
        ValueError: it holds something else.
    """
    try:
        weights.get_state_dict(check_hash=True, weights_only=True)
    except pickle.UnpicklingError as error:
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(weights.url).path).name
        raise ValueError(f"weights must be numbers only, and reading {file} would run code; remove it") from error


def _without_pretrained(recipe: Recipe, model: nn.Module, weights: Any) -> Recipe:
    """Return the recipe with what torchvision's constructors change when they are given weights."""
    options = dict(recipe.options)
    for name in ("transform_input", "aux_logits"):  # of Inception and GoogLeNet
        if hasattr(model, name):
            options[name] = getattr(model, name)
    if hasattr(model, "aux_classifier"):  # of segmentation
        options["aux_loss"] = model.aux_classifier is not None
    return recipe._replace(num_classes=len(weights.meta["categories"]), options=options)


def _torchvision_weights(name: str, pretrained: str | None) -> Any:
    if pretrained is None:
        return None
    choices = {entry.name: entry for entry in import_torchvision().models.get_model_weights(name)}
    if pretrained == "DEFAULT":
        return _default_weights(name)
    if pretrained not in choices:
        raise ValueError(
            f"weights of torchvision:{name} must be a file or one of DEFAULT, {', '.join(choices)}; got {pretrained!r}"
        )
    return choices[pretrained]


def _default_weights(name: str) -> Any:
    return import_torchvision().models.get_model_weights(name).DEFAULT


def _replace_stem(model: nn.Module, in_channels: int) -> None:
    """Give the first convolution another number of input channels, with fresh weights."""
    convolutions = ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    name, module = next(convolutions, (None, None))
    if name is None or module is None:
        raise ValueError(f"in_channels needs a model which starts with a Conv2d; {type(model).__name__} has none")
    if module.in_channels == in_channels:
        return
    stem = nn.Conv2d(
        in_channels,
        module.out_channels,
        kernel_size=module.kernel_size,  # type: ignore[arg-type]  # tuples of two, typed as of any length
        stride=module.stride,  # type: ignore[arg-type]
        padding=module.padding,  # type: ignore[arg-type]
        dilation=module.dilation,  # type: ignore[arg-type]
        bias=module.bias is not None,
        padding_mode=module.padding_mode,
    )
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, stem)
    if getattr(model, "transform_input", False):  # Inception's and GoogLeNet's change of RGB statistics
        setattr(model, "transform_input", False)  # noqa: B010  # a plain assignment is typed as one of a module


def _build_timm(name: str, recipe: Recipe, pretrained: str | None) -> Built:
    timm = import_timm()
    _require_known("timm", name, _timm_names(timm, name))
    if pretrained not in (None, "DEFAULT"):
        architecture = name.partition(".")[0]
        tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
        if pretrained not in tags:
            raise ValueError(
                f"weights of timm:{name} must be a file or one of DEFAULT, {', '.join(tags)}; got {pretrained!r}"
            )
        name = f"{architecture}.{pretrained}"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"timm\.")  # deprecations inside timm, of no use to its user
        model: nn.Module = timm.create_model(
            name,
            pretrained=pretrained is not None,
            num_classes=recipe.num_classes,
            in_chans=recipe.in_channels,
            **recipe.options,
        )
    config: Any = getattr(model, "pretrained_cfg", None) or {}
    wanted = timm_preprocessing(config, channels=recipe.in_channels, size=recipe.options.get("img_size"))
    return Built(model, wanted, recipe._replace(name=f"timm:{name}"))  # the tag decides on defaults


def _timm_names(timm: ModuleType, name: str) -> Iterable[str]:
    """All known names, of the tagged kind if the name carries a tag."""
    if "." in name:
        return list(timm.list_pretrained())
    names = list(timm.list_models())
    return [*names, name] if timm.is_model(name) else names  # some are kept out of the list, but are there


def _build_with_factory(module_path: str, factory_path: str, recipe: Recipe, pretrained: str | None) -> Built:
    name = recipe.name
    if pretrained is not None:
        raise ValueError(f"weights of {name} must be a file, a factory knows no names of weights; got {pretrained!r}")
    with _current_folder_importable():
        try:
            module = importlib.import_module(module_path)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_path}.".startswith(f"{error.name}."):
                raise  # found, but something it imports is not
            raise ValueError(
                f"the module of {name} must be in the current folder or on PYTHONPATH; found no {error.name!r}"
            ) from error
        try:
            factory = operator.attrgetter(factory_path)(module)
        except AttributeError as error:
            raise ValueError(f"{module_path} must define {factory_path!r}; {error}") from error
        if isinstance(factory, nn.Module) or not callable(factory):
            raise TypeError(f"{name} must be a function that returns a model; got a {type(factory).__name__}")
        arguments = {"num_classes": recipe.num_classes, "in_channels": recipe.in_channels, **recipe.options}
        model = factory(**{key: value for key, value in arguments.items() if value is not None})
    if not isinstance(model, nn.Module):
        raise TypeError(f"{name} must return a torch.nn.Module; got a {type(model).__name__}")
    return Built(model, None, recipe)


@contextlib.contextmanager
def _current_folder_importable() -> Iterator[None]:
    before = list(sys.path)
    sys.path.append(str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = before


def split_name(name: str) -> tuple[str, str]:
    library, colon, rest = name.partition(":")
    if colon and library and rest:
        return library, rest
    guesses = [f"{library}:{name}" for library, names in _all_names().items() if name in names]
    raise ValueError(
        'a model must be named "poolscope:NAME", "torchvision:NAME", "timm:NAME" or "module.path:factory"; '
        f"got {name!r}{_suggest(guesses)}"
    )


def _all_names() -> dict[str, Iterable[str]]:
    names: dict[str, Iterable[str]] = {"poolscope": NETWORKS}
    with contextlib.suppress(ImportError):
        names["torchvision"] = import_torchvision().models.list_models()
    with contextlib.suppress(ImportError):
        names["timm"] = import_timm().list_models()
    return names


def _untrusted(name: str, module: str) -> str:
    close = difflib.get_close_matches(module, ["poolscope", "torchvision", "timm"])
    return (
        f"{name!r} names a module whose code would be imported and run, which must be allowed: if you trust it, "
        f"pass trust_code=True (command line: --trust-code){_suggest([f'{library}:...' for library in close])}"
    )


def _require_known(library: str, name: str, names: Iterable[str]) -> None:
    names = list(names)
    if name not in names:
        close = difflib.get_close_matches(name, names, n=4)
        raise ValueError(
            f"unknown model: {library} must have one of that name; got {name!r}"
            f"{_suggest([f'{library}:{match}' for match in close])}"
        )


def _suggest(names: list[str]) -> str:
    return f" (did you mean {' or '.join(names)}?)" if names else ""
