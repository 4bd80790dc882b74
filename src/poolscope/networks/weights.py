"""Weights on disk: read without running code, written whole or not at all."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from poolscope._sealed import read_sealed, write_sealed
from poolscope.networks.image_format import Preprocessing
from poolscope.networks.origin import origin_facts, preprocessing_facts

WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth")
_WRAPPERS = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights inside a checkpoint


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Name → tensor from a weights file, on the CPU.

    Checkpoints that hold the weights under ``state_dict``, ``model_state_dict`` or ``model`` are unwrapped, and the
    prefixes ``module.`` of data-parallel training and ``_orig_mod.`` of ``torch.compile`` are removed. Files of
    `write_weights` are checked against the hash they hold.

    Args:
        path: ``*.safetensors``, or ``*.pt`` / ``*.pth`` as written by ``torch.save`` (read with ``weights_only``).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the suffix is another one, the file is damaged, holds something other than tensors, or is a
            pickle whose loading would run code.
    """
    return weights_and_facts(path)[0]


def weights_facts(path: str | Path) -> dict[str, Any]:
    """What a weights file says of itself; ``{}`` if nothing.

    Under ``"model"``: name, number of classes, channels and options for `load_model`. Under ``"preprocessing"``: what
    its images are to be. The rest is what `write_weights` was given.

    Raises:
        FileNotFoundError, ValueError: as `read_weights`, which also checks the hash.
    """
    return weights_and_facts(path)[1]


def weights_and_facts(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what `read_weights` and `weights_facts` return, from one reading."""
    path = Path(path)
    if path.suffix not in WEIGHT_SUFFIXES:
        raise ValueError(f"a weights file must end in {', '.join(WEIGHT_SUFFIXES)}, which name its format; got {path}")
    if not path.is_file():
        raise FileNotFoundError(f"weights must be an existing file; got {path}")
    weights, facts = read_sealed(path) if path.suffix == ".safetensors" else (_read_pickle(path), {})
    for name, value in weights.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"a weights file must map names to tensors; {path} has {name!r}: {type(value).__name__}")
    for prefix in ("module.", "_orig_mod.", "module."):  # one may stand inside the other
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights, facts


def write_weights(
    model_or_state: nn.Module | Mapping[str, Tensor],
    path: str | Path,
    *,
    state: Mapping[str, Tensor] | None = None,
    preprocessing: Preprocessing | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write the weights of a model, or a state dict, to a safetensors file which knows its own hash.

    The file is written under a temporary name in the same folder, flushed to the disk and renamed, so that ``path``
    never holds half of it. Tensors which share memory are written once each. Of a model made by `load_model` (also
    behind ``torch.compile`` or data parallelism) the file says how to build it, so that ``load_model(path)`` does.

    Args:
        model_or_state: what to write.
        path: ``*.safetensors``, in an existing folder.
        state: of a model, the state to write in the place of its present one.
        preprocessing: what the model's images are to be, if not what is known of the model.
        facts: more for the file to say, in JSON's types; `weights_facts` returns it.

    Raises:
        ValueError: if ``path`` does not end in ``.safetensors``, ``facts`` name "model" or "preprocessing" although
            these are known, or two states are given.
        FileNotFoundError: if the folder of ``path`` does not exist.
        TypeError: if the state holds something other than tensors, or a fact is not of JSON's types.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"weights are written as safetensors, so the name must end in .safetensors; got {path}")
    known: dict[str, Any] = {}
    if isinstance(model_or_state, nn.Module):
        inner = _inner(model_or_state)
        known = origin_facts(inner)
        state = inner.state_dict() if state is None else state
    elif state is not None:
        raise ValueError("state must be left out where the first argument is a state dict already; got both")
    else:
        state = model_or_state
    if preprocessing is not None:
        known |= preprocessing_facts(preprocessing)
    if clash := sorted(set(known) & set(facts or {})):
        raise ValueError(f"facts must not name what is known of the model already; got {', '.join(clash)}")
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"only tensors can be written as weights; {name!r} is a {type(value).__name__}")
    try:
        write_sealed(path, state, {**known, **(facts or {})})
    except TypeError as error:
        raise TypeError(f"facts must be of JSON's types (numbers, texts, lists, dicts); {error}") from error


def set_weights(model: nn.Module, path: str | Path) -> None:
    """Load a weights file into a model, names and shapes exactly as the model has them.

    Raises:
        ValueError: naming the first tensor whose shape differs, or which is missing or unexpected. Also all that
            `read_weights` raises.
    """
    fit_weights(model, read_weights(path), path)


def fit_weights(model: nn.Module, weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Load the weights read from a file into a model, as `set_weights`."""
    for name, expected in model.state_dict().items():
        if name in weights and weights[name].shape != expected.shape:
            raise ValueError(
                f"weights must have the model's shapes: {name} needs {tuple(expected.shape)}, "
                f"{path} has {tuple(weights[name].shape)}"
            )
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if missing:
        raise ValueError(
            f"weights must hold every tensor of the model; {path} lacks {len(missing)}, first {missing[0]}"
        )
    if unexpected:
        raise ValueError(
            f"weights must hold nothing the model has no place for; {path} has {len(unexpected)} more, "
            f"first {unexpected[0]}"
        )


def _inner(model: nn.Module) -> nn.Module:
    """Return the model behind ``torch.compile`` and data parallelism, whose state has the plain names."""
    inner = getattr(model, "_orig_mod", None)
    if inner is None and isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = model.module
    return _inner(inner) if isinstance(inner, nn.Module) else model


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" not in str(error):
            raise ValueError(f"weights must be an undamaged file written by torch.save; got {path}") from error
        raise ValueError(
            f"weights must be tensors only, because loading anything else from a pickle can run code; {path} was "
            "refused: save model.state_dict() instead of the model"
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"weights must be an undamaged file written by torch.save; got {path}") from error
    for key in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict):
        raise ValueError(f"a weights file must map names to tensors; {path} holds a {type(loaded).__name__}")
    return dict(loaded)
