"""Models by name: ours, torchvision's, timm's, or those of a module of your own."""

import contextlib
import difflib
import functools
import importlib
import inspect
import operator
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn

from poolscope._torchvision import import_timm, import_torchvision
from poolscope.networks.image_format import (
    Preprocessing,
    cifar_preprocessing,
    timm_preprocessing,
    torchvision_preprocessing,
)
from poolscope.networks.vgg import VGG
from poolscope.networks.weights import WEIGHT_SUFFIXES, set_weights

_OURS: dict[str, Callable[..., VGG]] = {
    f"vgg{depth}{'_bn' if batch_norm else ''}": functools.partial(VGG, depth, batch_norm=batch_norm)
    for depth in (11, 13, 16, 19)
    for batch_norm in (False, True)
}
_OURS["minivgg"] = functools.partial(VGG, 11, batch_norm=True, width=0.25)


class _Origin(NamedTuple):
    name: str
    preprocessing: Preprocessing | None


_origins: "WeakKeyDictionary[nn.Module, _Origin]" = WeakKeyDictionary()  # of the models made here, while they live


def load_model(
    name: str,
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
        name: ``"poolscope:NAME"`` (``vgg11``, ``vgg13``, ``vgg16``, ``vgg19``, each also with ``_bn``, and
            ``minivgg``, a ``vgg11_bn`` of a quarter of the width), ``"torchvision:NAME"``, ``"timm:NAME"``, or
            ``"module.path:factory"``, a function of yours which returns the model.
        weights: ``None`` for random ones; a pretrained name (``"DEFAULT"`` or ``True``; ``"IMAGENET1K_V1"`` and the
            like of torchvision; a tag of timm); or a file, ``*.safetensors`` or ``*.pt`` / ``*.pth``.
        num_classes: number of outputs, handed to the model's constructor. The default is the constructor's own.
        in_channels: channels of the images. torchvision's models are built for three channels, and their first
            convolution is then replaced by a fresh one with random weights; other constructors are handed it.
        trust_code: allow names of the form ``"module.path:factory"``, which import and run that module.
        seed: draw the random weights from this seed, leaving torch's generator as it was. Without it they come from
            torch's global generator, as with any constructor.
        options: further arguments of the constructor (``width=0.5``, ``padding=2``, ``img_size=32``, ...).

    Raises:
        ValueError: unknown name (with close matches), unknown pretrained name, weights of other shapes or in a file
            that would run code, a ``seed`` outside 0 .. 2³² - 1, or a module of yours without ``trust_code``.
        TypeError: an option the constructor does not know, or a factory that returns something else than a model.
        FileNotFoundError: no such weights file.
        ImportError: the library the name asks for is not installed.
    """
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"num_classes must be at least 1; got {num_classes}")
    if in_channels is not None and in_channels < 1:
        raise ValueError(f"in_channels must be at least 1; got {in_channels}")
    library, short_name = _split_name(name)
    file, pretrained = _split_weights(weights)
    build = {"poolscope": _build_ours, "torchvision": _build_torchvision, "timm": _build_timm}.get(library)
    if build is None:
        if not trust_code:
            raise ValueError(_untrusted(name, library))
        build = functools.partial(_build_with_factory, library)
    with _seeded(seed):
        model, wanted = build(short_name, pretrained, num_classes, in_channels, options)
    if file is not None:
        set_weights(model, file)
    _origins[model] = _Origin(name, wanted)
    return model.eval()


def preprocessing(model_or_name: nn.Module | str) -> Preprocessing | None:
    """What a model, or the model that `load_model` makes of a name, wants its images to be; ``None`` if unknown.

    Known for models made by `load_model` from the libraries' names (torchvision: classification only) and for timm
    models however made.

    Raises:
        ValueError: if a name is unknown. The name of a factory of yours is not imported and gives ``None``.
    """
    if isinstance(model_or_name, nn.Module):
        if model_or_name in _origins:
            return _origins[model_or_name].preprocessing
        config = getattr(model_or_name, "pretrained_cfg", None)
        return timm_preprocessing(config, channels=None, size=None) if isinstance(config, dict) and config else None
    library, name = _split_name(model_or_name)
    match library:
        case "poolscope":
            _require_known("poolscope", name, _OURS)
            return cifar_preprocessing(channels=3, padding=0)
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


def model_name(model: nn.Module) -> str:
    """The name by which `load_model` made this model; of others, the name of their class."""
    return _origins[model].name if model in _origins else type(model).__name__


def inherit_origin(copy: nn.Module, original: nn.Module) -> None:
    """Let a copy of a model go by the original's name and preprocessing."""
    if original in _origins:
        _origins[copy] = _origins[original]


_Built = tuple[nn.Module, Preprocessing | None]


def _build_ours(
    name: str, pretrained: str | None, num_classes: int | None, in_channels: int | None, options: dict[str, Any]
) -> _Built:
    _require_known("poolscope", name, _OURS)
    if pretrained is not None:
        raise ValueError(f"weights of poolscope:{name} must be a file, none are published; got {pretrained!r}")
    arguments = {"num_classes": num_classes, "in_channels": in_channels, **options}
    model = _OURS[name](**{key: value for key, value in arguments.items() if value is not None})
    return model, cifar_preprocessing(channels=in_channels or 3, padding=options.get("padding", 0))


def _build_torchvision(
    name: str, pretrained: str | None, num_classes: int | None, in_channels: int | None, options: dict[str, Any]
) -> _Built:
    models = import_torchvision().models
    _require_known("torchvision", name, models.list_models())
    weights = _torchvision_weights(name, pretrained)
    arguments = dict(options)
    if num_classes is not None:
        known = len(weights.meta.get("categories", ())) if weights else 0
        if known and known != num_classes:
            raise ValueError(f"num_classes must be that of the pretrained weights, {known}; got {num_classes}")
        arguments["num_classes"] = num_classes
    if "weights_backbone" in inspect.signature(models.get_model_builder(name)).parameters:
        arguments.setdefault("weights_backbone", None)  # else random weights would download a pretrained backbone
    if name in ("googlenet", "inception_v3") and weights is None:
        arguments.setdefault("init_weights", True)  # as their default, without the warning that it may change
    model: nn.Module = models.get_model(name, weights=weights, **arguments)
    if in_channels is not None:
        _replace_stem(model, in_channels)
    transforms = (weights or _default_weights(name)).transforms()
    return model, torchvision_preprocessing(transforms, channels=in_channels or 3, size=options.get("image_size"))


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


def _build_timm(
    name: str, pretrained: str | None, num_classes: int | None, in_channels: int | None, options: dict[str, Any]
) -> _Built:
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
            name, pretrained=pretrained is not None, num_classes=num_classes, in_chans=in_channels, **options
        )
    config: Any = getattr(model, "pretrained_cfg", None) or {}
    return model, timm_preprocessing(config, channels=in_channels, size=options.get("img_size"))


def _timm_names(timm: ModuleType, name: str) -> Iterable[str]:
    """All known names, of the tagged kind if the name carries a tag."""
    if "." in name:
        return list(timm.list_pretrained())
    names = list(timm.list_models())
    return [*names, name] if timm.is_model(name) else names  # some are kept out of the list, but are there


def _build_with_factory(
    module_path: str,
    factory_path: str,
    pretrained: str | None,
    num_classes: int | None,
    in_channels: int | None,
    options: dict[str, Any],
) -> _Built:
    name = f"{module_path}:{factory_path}"
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
        arguments = {"num_classes": num_classes, "in_channels": in_channels, **options}
        model = factory(**{key: value for key, value in arguments.items() if value is not None})
    if not isinstance(model, nn.Module):
        raise TypeError(f"{name} must return a torch.nn.Module; got a {type(model).__name__}")
    return model, None


@contextlib.contextmanager
def _current_folder_importable() -> Iterator[None]:
    before = list(sys.path)
    sys.path.append(str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = before


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


def _split_name(name: str) -> tuple[str, str]:
    library, colon, rest = name.partition(":")
    if colon and library and rest:
        return library, rest
    guesses = [f"{library}:{name}" for library, names in _all_names().items() if name in names]
    raise ValueError(
        'a model must be named "poolscope:NAME", "torchvision:NAME", "timm:NAME" or "module.path:factory"; '
        f"got {name!r}{_suggest(guesses)}"
    )


def _all_names() -> dict[str, Iterable[str]]:
    names: dict[str, Iterable[str]] = {"poolscope": _OURS}
    with contextlib.suppress(ImportError):
        names["torchvision"] = import_torchvision().models.list_models()
    with contextlib.suppress(ImportError):
        names["timm"] = import_timm().list_models()
    return names


def _split_weights(weights: str | Path | bool | None) -> tuple[Path | None, str | None]:
    """(file, None), (None, pretrained name) or, for random weights, (None, None)."""
    if weights is None or weights is False:
        return None, None
    if weights is True or weights == "pretrained":
        return None, "DEFAULT"
    if isinstance(weights, Path) or Path(weights).suffix in WEIGHT_SUFFIXES or "/" in weights:
        return Path(weights), None
    return None, weights


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
