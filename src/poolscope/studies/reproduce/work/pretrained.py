"""A network that torchvision publishes weights of, beside its shuffled copies, on photographs; and its filters."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from jaxtyping import Float
from torch import Tensor

from poolscope._torchvision import import_torchvision
from poolscope.datasets import open_images
from poolscope.networks import load_model
from poolscope.pooling import filter_spectrum, pooling_analysis
from poolscope.sensitivity import Result
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import Sources
from poolscope.studies.reproduce.work.data import digest_of_file
from poolscope.studies.reproduce.work.pooled import save_spectrum
from poolscope.studies.reproduce.work.work import Work

#: Pixels per side of ImageNet's networks.
SIDE = 224

_DIGITS = 8  # of a file's SHA-256, which torchvision's file names hold
_SEED = 0  # of the untrained network, whose filters the trained ones are set beside


@dataclass(frozen=True)
class WeightsFile:
    """Published weights.

    Attributes:
        url: where they come from.
        path: where torchvision keeps them, whether they are there or not.
    """

    url: str
    path: Path

    @property
    def promised(self) -> str:
        """The first 8 hexadecimal digits of the SHA-256 of the published file, which are part of its name."""
        found = re.search(r"-([0-9a-f]{8})\.", self.path.name)
        return found[1] if found else ""

    @property
    def there(self) -> bool:
        """Whether the file is on this machine."""
        return self.path.is_file()


def weights_file(model: str, weights: str) -> WeightsFile:
    """Return the file of a torchvision network's weights: ``hub/checkpoints`` in ``$TORCH_HOME`` (~/.cache/torch).

    Args:
        model: name of the network, such as "vgg11".
        weights: name of the weights, such as "IMAGENET1K_V1".

    Raises:
        ValueError: torchvision has no such network, or no such weights of it.
        ImportError: torchvision is not installed.
    """
    models = import_torchvision().models
    if model not in models.list_models():
        raise ValueError(f"a pretrained network must be one of torchvision's; got {model!r}")
    entries = {entry.name: entry for entry in models.get_model_weights(model)}
    if weights not in entries:
        raise ValueError(f"weights of {model} must be one of {', '.join(entries)}; got {weights!r}")
    url = str(entries[weights].url)
    return WeightsFile(url, Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name)


def evenly(length: int, count: int) -> list[int]:
    """Return so many numbers of images, or all there are, evenly spread: folders of images are sorted by class."""
    count = min(length, count)
    return [number * length // count for number in range(count)]


def photographs(spec: str, count: int, *, model: str | None = None) -> Float[Tensor, "images channels height width"]:
    """Return images of a folder or Parquet, evenly spread over it.

    Args:
        spec: name, as for ``open_images``.
        count: so many, or all there are.
        model: name of the network they are for, whose size and normalisation they get; without, 224 pixels and [0, 1].

    Raises:
        ValueError, FileNotFoundError: as for ``open_images``.
    """
    if model is None:
        dataset = open_images(spec, size=SIDE, normalize="none")
    else:
        dataset = open_images(spec, for_model=model)
    return torch.stack([dataset[number][0] for number in evenly(len(dataset), count)])


def _do(
    settings: Mapping[str, Any], needs: Mapping[str, Path], folder: Path, say: Callable[[str], object], device: str
) -> None:
    import pandas as pd

    name = settings["model"]
    file = weights_file(name, settings["version"])
    if not file.there:
        if settings["weights"]["spec"] != file.url:
            raise FileNotFoundError(f"weights of {name} must be where they were when this was planned; no {file.path}")
        fetch(file, say)
    # By its path, and not by the name of the weights: torchvision unpickles what it finds there, code included.
    model = load_model(f"torchvision:{name}", weights=file.path)
    images = photographs(settings["data"]["spec"], settings["images"], model=f"torchvision:{name}")
    say(f"{len(images)} images")
    analysis = pooling_analysis(
        model,
        images,
        displacement=settings["displacement"],
        cutoff=settings["cutoff"],
        draws=settings["draws"],
        seed=settings["seed"],
        device=device,
        progress=False,
        name=name,
    )
    tables = {"measurement": analysis.result.table, "shares": analysis.shares, "contrasts": analysis.contrasts}
    for each, table in tables.items():
        Result(table, analysis.record).save(folder / f"{each}.parquet")
    initial = load_model(f"torchvision:{name}", seed=_SEED)
    save_spectrum(filter_spectrum(model, initial=initial, name=name), folder)
    digest = digest_of_file(file.path)
    facts = {"model": name, "images": len(images), "pixels": images.shape[-1], "weights_sha256": digest}
    facts["published"] = bool(file.promised) and digest.startswith(file.promised)
    if not facts["published"]:
        say(f"{file.path.name} is not the published file: its SHA-256 begins with {digest[:_DIGITS]}")
    Result(pd.DataFrame([facts]), {}).save(folder / "weights.parquet")


def fetch(file: WeightsFile, say: Callable[[str], object]) -> None:
    """Fetch weights to where torchvision looks for them: whole, with the hash that their name promises, or not at all.

    Raises:
        FileNotFoundError: the address cannot be reached.
        ValueError: what arrived has another hash.
    """
    file.path.parent.mkdir(parents=True, exist_ok=True)
    say(f"fetching {file.url}")
    try:
        torch.hub.download_url_to_file(file.url, str(file.path), hash_prefix=file.promised or None, progress=False)
    except RuntimeError as error:
        raise ValueError(f"weights must have the hash in their name; {file.url}: {error}") from error
    except (URLError, OSError) as error:
        raise FileNotFoundError(f"weights could not be fetched from {file.url}: {error}") from error


@lru_cache(maxsize=8)
def _digest_of_images(spec: str, count: int) -> str:
    images = photographs(spec, count)
    digest = hashlib.sha256(f"{tuple(images.shape)} ".encode())
    digest.update(images.numpy().tobytes())
    return digest.hexdigest()


def pretrained(
    model: str,
    sources: Sources,
    *,
    weights: str = "IMAGENET1K_V1",
    displacement: Sequence[float],
    cutoff: int = 3,
    images: int = 500,
    draws: int = 4,
    seed: int = 0,
    memory: float = 8.0,
) -> Job:
    """Return the job that looks at a pretrained network of torchvision as ``pooled`` does at a trained one.

    Files: ``measurement``, ``shares``, ``contrasts`` of ``pooling_analysis``, ``spectrum`` and ``frequency`` of its
    filters beside those of an untrained network, and ``weights``: how many ``images`` of how many ``pixels``,
    ``weights_sha256``, and whether that is ``published``.

    Args:
        model: its name, "vgg11".
        sources: with ImageNet's images; whether weights may be fetched; what computes.
        weights: which.
        displacement: true rms displacements, in pixels of the network's images.
        cutoff: highest mode.
        images: so many, evenly spread over those there are.
        draws: shuffles.
        seed: of perturbations and shuffles.
        memory: GiB.

    Raises:
        ValueError: no images are named, or as for `weights_file` and `photographs`.
        FileNotFoundError: the weights are not there and must not be fetched, or there are no images.
    """
    if sources.imagenet is None:
        raise ValueError("a pretrained network needs images; got imagenet=None")
    file = weights_file(model, weights)
    if not (file.there or sources.download):
        raise FileNotFoundError(f"weights of {model} must be there, or download=True; no file {file.path}")
    digest = digest_of_file(file.path)[:_DIGITS] if file.there else file.promised
    settings = {
        "model": model,
        "version": weights,
        "weights": {"spec": str(file.path) if file.there else file.url, "digest": digest},
        "data": {"spec": sources.imagenet, "digest": _digest_of_images(sources.imagenet, images)},
        "displacement": list(displacement),
        "cutoff": cutoff,
        "images": images,
        "draws": draws,
        "seed": seed,
    }
    return Job("pretrained", WORK.version, settings, threads=sources.threads, device=sources.device, memory=memory)


WORK = Work("pretrained", 1, _do)
