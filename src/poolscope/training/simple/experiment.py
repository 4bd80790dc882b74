"""Experiments of section 4 and appendix B: task, network and training in one validated record."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from poolscope.networks.simple import SimpleCNN
from poolscope.tasks import parse
from poolscope.training.recipe import validated

VERSION = 1  # of what the training code makes of an experiment: raised when the same one gives other weights


class Experiment(BaseModel):
    """A simple CNN, a scale-detection task, and how it is trained on it.

    Attributes:
        description: in a sentence.
        task: name of the task with its training pairs: ``scale-detection:...,train=48``.
        depth, channels, filter_size, stride, outside, alignment, activation, beta, bias: as for `SimpleCNN`.
        lr: learning rate; SGD without momentum steps by ``lr`` times ``channels`` (published).
        bias_lr: of the read-out's bias: "scaled" by ``channels`` like all others (published), although its gradient,
            unlike theirs, does not fall with ``channels``: one wrong pair then moves every output by lr channels / 8;
            or "plain", ``lr`` itself, which is steady.
        ridge: factor of Σ w² / (channels depth), of filters alone (published).
        batch_size: pairs a step; what is left over at the end of an epoch's order is not used (published).
        multiple: M; training ends at M times the interpolation time, the first check at which an epoch's hinge loss,
            while weights change, is exactly 0, and as soon as it is so at a check again.
        wait: for which it waits so much longer at most, as a share of M times the interpolation time; ``None``: for
            ever (published; the text does not ask for it).
        check_every: epochs between checks (published: 10).
        give_up: a network that has not interpolated after so many epochs is said not to have, and let go of.
        most_epochs: training ends there in any case (published: 600,000), and is said to be cut short.
        together: networks (seeds) trained in one batched product, at most: faster up to about 256 channels in all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    description: str = ""
    task: str
    depth: int = Field(ge=1)
    channels: int = Field(ge=1)
    filter_size: int = Field(default=3, ge=1)
    stride: int = Field(default=1, ge=1)
    outside: Literal["circular", "zero"] = "circular"
    alignment: Literal["patches", "centred"] = "patches"
    activation: Literal["relu", "tanh", "swish", "linear"] = "relu"
    beta: float | None = None
    bias: bool = True
    lr: float = Field(gt=0)
    bias_lr: Literal["scaled", "plain"] = "scaled"
    ridge: float = Field(ge=0)
    batch_size: int = Field(default=8, ge=1)
    multiple: float = Field(gt=0)
    wait: float | None = Field(default=None, ge=0)
    check_every: int = Field(default=10, ge=1)
    give_up: int = Field(default=20_000, ge=1)
    most_epochs: int = Field(default=600_000, ge=1)
    together: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _can_be_done(self) -> Experiment:
        task, split = parse(self.task)
        if split is None:
            raise ValueError(f"task must say train=, the number of training pairs; got {self.task!r}")
        if split.train < self.batch_size:
            raise ValueError(f"batch_size must not be above the {split.train} training pairs; got {self.batch_size}")
        self.network()  # on the meta device: it refuses what it cannot be
        side = task.shape[-1]
        if self.stride > 1 and side % self.stride**self.depth:
            raise ValueError(
                f"depth must leave whole windows: {side} pixels are no multiple of {self.stride}^{self.depth}"
            )
        split.of(task)  # it refuses more pairs than there are
        return self

    @property
    def options(self) -> dict[str, Any]:
        """Of `SimpleCNN`'s constructor."""
        names = ("depth", "channels", "filter_size", "stride", "outside", "alignment", "activation", "beta", "bias")
        return {"dim": parse(self.task)[0].dim, **{name: getattr(self, name) for name in names}}

    def network(self) -> SimpleCNN:
        """Return the network without weights, on the meta device."""
        import torch

        options = self.options
        with torch.device("meta"):
            return SimpleCNN(**options)

    def changed(self, **fields: Any) -> Experiment:
        """Return the experiment with other values of some fields.

        Raises:
            ValueError: a field that there is not, or a value out of range; one line, with the rule and the value.
        """
        return validated(Experiment, {**self.model_dump(), **fields}, "experiment")


def experiment_names() -> list[str]:
    """Names of the experiments that come with poolscope."""
    return sorted(entry.name.removesuffix(".toml") for entry in _folder().iterdir() if entry.name.endswith(".toml"))


def load_experiment(name: str | Path) -> Experiment:
    """The experiment of a name, or of a TOML file whose keys are the fields of `Experiment`.

    Args:
        name: one of `experiment_names`, such as "task1-laptop", or a path that ends in ``.toml``.

    Raises:
        ValueError: unknown name (with those there are), a file that is not TOML, a field that there is not, or a value
            out of range.
        FileNotFoundError: no such file.
    """
    if str(name).endswith(".toml"):
        path = Path(name).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"an experiment must be an existing file; got {path}")
        text = path.read_text(encoding="utf-8")
    elif name in experiment_names():
        text = (_folder() / f"{name}.toml").read_text(encoding="utf-8")
    else:
        known = ", ".join(experiment_names())
        raise ValueError(f"an experiment must be one of {known}, or a file that ends in .toml; got {str(name)!r}")
    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"an experiment must be a TOML file; {name}: {error}") from error
    return validated(Experiment, fields, str(name))


def _folder() -> Any:
    return resources.files("poolscope.training.simple") / "experiments"
