"""Recipes: everything about a training that is not the network, the data or the seed, as validated files."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Loss = Literal["cross-entropy", "hinge"]
Precision = Literal["float32", "bf16-mixed"]
MemoryFormat = Literal["contiguous", "channels_last"]
Model = TypeVar("Model", bound=BaseModel)


class Recipe(BaseModel):
    """How a network is trained.

    Attributes:
        epochs: passes over the training images, at most.
        batch_size: images a step at most; the batches of an epoch differ by one image at most (the authors' last
            batch is what remains).
        loss: "cross-entropy", or "hinge": mean of max(0, 1 - y f) with one output f and y = +1 for label 1, -1 for 0.
        optimizer: "sgd" or "adam".
        lr: highest learning rate.
        momentum: of SGD.
        weight_decay: factor of the ridge, through the gradient (L2, not decoupled).
        decayed: what it acts on: "weights", parameters of more than one axis, so not biases and batch norms; or "all".
        schedule: of the learning rate after the warm-up: "cosine", half a wave down to zero, or "constant".
        schedule_span: length of that half wave as a share of the epochs. The authors' 0.8 reaches zero early and then
            rises again; 1 is the usual choice.
        schedule_by: "step", or "epoch" (the authors' choice: constant within an epoch).
        warmup_epochs: the learning rate rises linearly over so many epochs, which may be a fraction.
        clip_norm: gradients longer than this are shortened to it; ``None`` leaves them.
        initialisation: "default", as the network's constructor makes it; or "he", normal weights of variance 2 / fan-in
            and no biases in all convolutions and linear layers (He et al. 2015), without which a deep network with
            rectifiers and without batch norm may not learn at all.
        crop_padding: largest random move of an image, in pixels, each axis on its own.
        crop_fill: what comes in from outside: "black" (the authors' choice), or "edge", the pixels of the frame.
        flip: mirror every other image left to right, at random.
        deformation: displacement (true rms, pixels) of a random smooth deformation of every image, 0 for none.
        deformation_cutoff: its highest mode.
        stop_at_zero_loss: end after the first epoch whose mean training loss is exactly 0 (the authors' code does).
        patience: end after so many epochs without a better validation error; ``None``: never.
        dead_after: a run whose training accuracy after so many epochs, or after all if they are fewer, is that of
            chance is given up as dead.
        precision: "float32", or "bf16-mixed": forward and backward passes in bfloat16 where autocast holds it safe,
            weights and their updates in float32.
        memory_format: of the convolutions' tensors.
        description: in a sentence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    description: str = ""
    epochs: int = Field(ge=1)
    batch_size: int = Field(default=128, ge=1)
    loss: Loss = "cross-entropy"
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float = Field(gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    decayed: Literal["weights", "all"] = "weights"
    schedule: Literal["cosine", "constant"] = "cosine"
    schedule_span: float = Field(default=1.0, gt=0)
    schedule_by: Literal["step", "epoch"] = "step"
    warmup_epochs: float = Field(default=0.0, ge=0)
    clip_norm: float | None = Field(default=None, gt=0)
    initialisation: Literal["default", "he"] = "default"
    crop_padding: int = Field(default=0, ge=0)
    crop_fill: Literal["black", "edge"] = "black"
    flip: bool = False
    deformation: float = Field(default=0.0, ge=0)
    deformation_cutoff: int = Field(default=3, ge=1)
    stop_at_zero_loss: bool = False
    patience: int | None = Field(default=None, ge=1)
    dead_after: int = Field(default=3, ge=1)
    precision: Precision = "float32"
    memory_format: MemoryFormat = "contiguous"

    @model_validator(mode="after")
    def _warm_up_ends(self) -> Recipe:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs must be fewer than epochs = {self.epochs}; got {self.warmup_epochs:g}")
        return self

    def changed(self, **fields: Any) -> Recipe:
        """Return the recipe with other values of some fields.

        Raises:
            ValueError: a field that there is not, or a value out of range; one line, with the rule and the value.
        """
        return validated(Recipe, {**self.model_dump(), **fields}, "recipe")


def recipe_names() -> list[str]:
    """Names of the recipes that come with poolscope."""
    folder = resources.files("poolscope.training") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(name: str | Path) -> Recipe:
    """The recipe of a name, or of a TOML file whose keys are the fields of `Recipe`.

    Args:
        name: one of `recipe_names`, or a path that ends in ``.toml``.

    Raises:
        ValueError: unknown name (with those there are), a file that is not TOML, a field that there is not, or a value
            out of range.
        FileNotFoundError: no such file.
    """
    if str(name).endswith(".toml"):
        path = Path(name).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"a recipe must be an existing file; got {path}")
        text = path.read_text(encoding="utf-8")
    elif name in recipe_names():
        text = (resources.files("poolscope.training") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    else:
        known = ", ".join(recipe_names())
        raise ValueError(f"a recipe must be one of {known}, or a file that ends in .toml; got {str(name)!r}")
    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"a recipe must be a TOML file; {name}: {error}") from error
    return validated(Recipe, fields, str(name))


def validated(kind: type[Model], fields: dict[str, Any], where: str) -> Model:
    """Return a record of these fields.

    Raises:
        ValueError: the first thing that is wrong, in one line: where, the field, the rule, the value.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        rule = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            raise ValueError(f"{where}: fields must be among {', '.join(kind.model_fields)}; got {name!r}") from None
        if first["type"] == "missing":
            raise ValueError(f"{where}: {name} must be given; got {', '.join(fields) or 'nothing'}") from None
        arrived = f"; got {first['input']!r}" if name else ""
        raise ValueError(f"{where}: {name + ': ' if name else ''}{rule}{arrived}") from None
