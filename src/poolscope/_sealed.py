"""Tensors and facts in one safetensors file that knows its own hash: damage is noticed, nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from poolscope._files import written_whole

_FACTS, _HASH = "poolscope", "sha256"  # keys of the file's metadata


def write_sealed(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors, and facts in JSON's types, under a temporary name, flush and rename.

    The metadata of the file hold the facts under ``poolscope`` and, under ``sha256``, the hash of facts, names, types,
    shapes and values.

    Raises:
        OSError: the folder does not exist, cannot be written to, or is full; ``path`` is then as it was.
        TypeError: a fact that JSON has no type for.
    """
    from safetensors.torch import save

    copies = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    text = json.dumps(facts, sort_keys=True)
    content = save(copies, metadata={_FACTS: text, _HASH: _digest(copies, text)})
    with written_whole(path) as temporary:
        temporary.write_bytes(content)  # an OSError here still says what is wrong, such as a full disk


def read_sealed(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors, on the CPU, and the facts of a file; without facts in it, ``{}``, unchecked.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a safetensors file, cut short, or altered since it was written.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"there must be such a file; got {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} must be an undamaged safetensors file; {error}") from error
    if _FACTS not in metadata and _HASH not in metadata:
        return tensors, {}
    if _digest(tensors, metadata.get(_FACTS, "")) != metadata.get(_HASH):  # one of them alone is damage too
        raise ValueError(f"{path} must be as it was written; its content does not have the hash noted in it")
    facts: dict[str, Any] = json.loads(metadata[_FACTS])
    return tensors, facts


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        digest.update(f"\0{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
