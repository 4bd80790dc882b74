"""All that determines a run, as one validated record with a hash."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from poolscope.training.recipe import Recipe

VERSION = (
    1  # of what the training code makes of a configuration: raised when the same configuration gives other weights
)


class DataChoice(BaseModel):
    """What is learned from, and what is judged on.

    Attributes:
        spec: name of the data set, as for ``open_images``.
        train: its split to learn from.
        test: its split to judge on.
        size: pixels per side, or ``None`` for the images' own.
        normalize: as for ``open_images``; "auto": as is usual for the data set.
        images: learn from a class-balanced subset of so many of the training images; ``None``: all.
        validation: so many training images, class-balanced, are set aside to choose the best epoch by; or "test": the
            test images choose it, as the authors' code does, so that the error reported is a minimum over epochs.
        seed: of the subset, the validation images and frozen noise; the same for every run to be averaged.
        eta: expected L2 norm of the Gaussian noise on each normalised image, for training, validation and test.
        noise: "fresh" at every access (the authors' code), or "frozen", the same for each image for ever.
        digests: hashes of the decoded training and test images and labels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: str
    train: str | None = "train"
    test: str | None = "test"
    size: int | None = None
    normalize: str = "auto"
    images: int | None = Field(default=None, ge=1)
    validation: int | Literal["test"]
    seed: int = 0
    eta: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    noise: Literal["fresh", "frozen"] = "fresh"
    digests: tuple[str, str] = ("", "")


class MeasureChoice(BaseModel):
    """When and how D, G and R are measured during training.

    Attributes:
        at: epochs, 0 before the first.
        last: whether also at the end.
        images: so many test images, class-balanced, at most.
        layers: as for ``measure``.
        displacement: true rms displacements, in pixels; none: the shorter side / 32.
        cutoff: highest mode.
        moves: "smooth" deformations; or single pixels' moves, as for ``PixelShift``; ``None``: smooth, but
            "neighbour-or-stay" (section 3) on scale-detection tasks, whose images have two pixels on nothing.
        draws: perturbations an image.
        bn: batch norm by "eval", "reestimate" or "batch" statistics.
        seed: of the perturbations, the same at every epoch.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: tuple[int, ...] = ()
    last: bool = False
    images: int = Field(default=1000, ge=2)
    layers: str | tuple[str, ...] = "auto"
    displacement: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = ()
    cutoff: int = 3
    moves: Literal["smooth", "left-right", "neighbour-or-stay", "rounded-direction"] | None = None
    draws: int = Field(default=1, ge=1)
    bn: Literal["eval", "reestimate", "batch"] = "eval"
    seed: int = 0


class Configuration(BaseModel):
    """A run: the same configuration ends in the same weights, bit for bit, on the same machine and versions.

    Attributes:
        model: name of the network, as for ``load_model``.
        options: of its constructor, with ``num_classes`` and ``in_channels``.
        data: what is learned from.
        recipe: how.
        seed: of initial weights, order, augmentation, dropout and fresh noise.
        measure: what is measured on the way.
        device: kind of device, "cpu" or "cuda".
        threads: of the CPU: sums over threads round otherwise.
        version: of the training code.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    options: dict[str, Any]
    data: DataChoice
    recipe: Recipe
    seed: int = Field(ge=0)
    measure: MeasureChoice = MeasureChoice()
    device: str = "cpu"
    threads: int = Field(ge=1)
    version: int = VERSION

    def digest(self) -> str:
        """Return the hash of all of it, 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode()).hexdigest()[:16]

    def plain(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        return plain


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Say where two plain configurations differ: "recipe.lr is 0.1 there and 0.05 here"."""
    there, here = _flat(found), _flat(wanted)
    return [
        f"{key} is {there.get(key, 'missing')} there and {here.get(key, 'missing')} here"
        for key in sorted(there.keys() | here.keys())
        if there.get(key) != here.get(key) and not key.endswith("description")
    ]


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, each in value.items():
        if isinstance(each, dict):
            flat |= _flat(each, f"{prefix}{key}.")
        else:
            flat[prefix + key] = each
    return flat
