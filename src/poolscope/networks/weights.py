"""Weights on disk: read without running code, written whole or not at all."""

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from poolscope._files import written_whole

WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth")
_WRAPPERS = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights inside a checkpoint


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Name → tensor from a weights file, on the CPU.

    Checkpoints that hold the weights under ``state_dict``, ``model_state_dict`` or ``model`` are unwrapped, and the
    prefix ``module.`` of data-parallel training is removed.

    Args:
        path: ``*.safetensors``, or ``*.pt`` / ``*.pth`` as written by ``torch.save`` (read with ``weights_only``).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the suffix is another one, the file is damaged, holds something other than tensors, or is a
            pickle whose loading would run code.
    """
    path = Path(path)
    if path.suffix not in WEIGHT_SUFFIXES:
        raise ValueError(f"a weights file must end in {', '.join(WEIGHT_SUFFIXES)}, which name its format; got {path}")
    if not path.is_file():
        raise FileNotFoundError(f"weights must be an existing file; got {path}")
    weights = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    for name, value in weights.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"a weights file must map names to tensors; {path} has {name!r}: {type(value).__name__}")
    if all(name.startswith("module.") for name in weights):
        weights = {name.removeprefix("module."): value for name, value in weights.items()}
    return weights


def write_weights(model_or_state: nn.Module | dict[str, Tensor], path: str | Path) -> None:
    """Write the weights of a model, or a state dict, to a safetensors file.

    The file is written under a temporary name in the same folder, flushed to the disk and renamed, so that ``path``
    never holds half of it. Tensors which share memory are written once each.

    Raises:
        ValueError: if ``path`` does not end in ``.safetensors``.
        FileNotFoundError: if the folder of ``path`` does not exist.
        TypeError: if the state holds something other than tensors.
    """
    from safetensors.torch import save_file

    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"weights are written as safetensors, so the name must end in .safetensors; got {path}")
    state = model_or_state.state_dict() if isinstance(model_or_state, nn.Module) else model_or_state
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"only tensors can be written as weights; {name!r} is a {type(value).__name__}")
    copies = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in state.items()}
    with written_whole(path) as temporary:
        save_file(copies, temporary)


def set_weights(model: nn.Module, path: str | Path) -> None:
    """Load a weights file into a model, names and shapes exactly as the model has them.

    Raises:
        ValueError: naming the first tensor whose shape differs, or which is missing or unexpected. Also all that
            `read_weights` raises.
    """
    weights = read_weights(path)
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


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"weights must be an undamaged safetensors file; {path}: {error}") from error


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
