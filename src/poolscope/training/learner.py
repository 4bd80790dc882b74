"""A network that learns step by step, and can be put down and taken up again at any step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from poolscope.training.batches import Batches
from poolscope.training.losses import losses, right
from poolscope.training.recipe import Recipe
from poolscope.training.schedule import learning_rate
from poolscope.training.seeds import stream_seed


class Diverged(RuntimeError):
    """The loss is no longer finite."""


class Learner:
    """Takes gradient steps; what a step does depends on the state before it and on (seed, epoch, step) alone.

    Args:
        model: trained in place, on the device where it is, which must be that of the batches.
        batches: what it learns from.
        recipe: how.
        seed: of dropout; the batches have theirs.

    Attributes:
        epoch: epochs done.
        step: steps done of the epoch in progress.
    """

    def __init__(self, model: nn.Module, batches: Batches, recipe: Recipe, seed: int):
        self.model = model.to(memory_format=_FORMATS[recipe.memory_format])  # type: ignore[call-overload]
        self.batches = batches
        self.recipe = recipe
        self.seed = seed
        self.epoch = 0
        self.step = 0
        self.optimizer = _optimizer(model, recipe)
        self.device = next(model.parameters()).device
        self._clear()

    def advance(self) -> None:
        """Take one step. On a GPU this waits for nothing.

        Raises:
            Diverged: the loss of the step is not finite (on a GPU: seen by `end_epoch` only).
        """
        epoch, step = self.epoch, self.step
        images, labels = self.batches(epoch, step)
        torch.manual_seed(stream_seed(self.seed, "dropout", epoch, step))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, epoch, step, self.batches.steps)
        with autocast(self.device, self.recipe):
            outputs = self.model(images)
        outputs = outputs.float()
        each = losses(self.recipe.loss, outputs, labels)
        self.optimizer.zero_grad(set_to_none=True)
        each.mean().backward()
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        with torch.no_grad():
            self._loss += each.sum(dtype=self._loss.dtype)
            self._right += right(self.recipe.loss, outputs, labels).sum()
        if self.device.type == "cpu" and not math.isfinite(self._loss.item()):
            raise Diverged(f"the loss must stay finite; got {self._loss.item()} in epoch {epoch + 1}, step {step + 1}")
        self.step += 1

    def end_epoch(self) -> dict[str, float]:
        """Close an epoch all of whose steps were taken; return its mean ``loss`` and ``error``, in training mode.

        Raises:
            Diverged: the mean loss is not finite.
        """
        images = len(self.batches.data)
        row = {"loss": self._loss.item() / images, "error": 1 - self._right.item() / images}
        self.epoch += 1
        self.step = 0
        self._clear()
        if not math.isfinite(row["loss"]):
            raise Diverged(f"the loss must stay finite; got {row['loss']} in epoch {self.epoch}")
        return row

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that `restore` needs: tensors, and facts of JSON's types."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {
                f"optimizer.{index}.{name}": value for name, value in values.items() if isinstance(value, Tensor)
            }
        tensors |= {"loss": self._loss, "right": self._right}
        return tensors, {"epoch": self.epoch, "step": self.step}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go back to a state, bit for bit; tensors take the memory layout they have here.

        Raises:
            ValueError: the state of another network or optimizer.
        """
        own = self.model.state_dict()
        names = {name.removeprefix("model.") for name in tensors if name.startswith("model.")}
        if names != own.keys() or any(own[name].shape != tensors[f"model.{name}"].shape for name in names):
            raise ValueError("a state must be of the same network, names and shapes alike; got another one")
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(tensors[f"model.{name}"])
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            part, _, rest = key.partition(".")
            if part == "optimizer":
                index, _, name = rest.partition(".")
                like = parameters[int(index)]
                laid = torch.empty_like(like).copy_(value) if value.shape == like.shape else value.clone()
                state.setdefault(int(index), {})[name] = laid
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self._loss.copy_(tensors["loss"])
        self._right.copy_(tensors["right"])
        self.epoch, self.step = facts["epoch"], facts["step"]

    def _clear(self) -> None:
        exact = torch.float32 if self.device.type == "mps" else torch.float64
        self._loss = torch.zeros((), dtype=exact, device=self.device)
        self._right = torch.zeros((), dtype=torch.int64, device=self.device)


_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def autocast(device: torch.device, recipe: Recipe) -> torch.autocast:
    """Return the context of a forward pass in the recipe's precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16-mixed")


@contextmanager
def training(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Training mode and repeatable kernels inside; modes, generators and empty gradients as found outside."""
    modes = {module: module.training for module in model.modules()}
    cuda = [device] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=cuda),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        model.train()
        try:
            yield
        finally:
            model.zero_grad(set_to_none=True)
            for module, mode in modes.items():
                module.training = mode


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients inside; modes as found outside."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError(f"the model must have parameters that require gradients; {type(model).__name__} has none")
    decayed = [parameter for parameter in trained if parameter.ndim > 1 or recipe.decayed == "all"]
    rest = [parameter for parameter in trained if parameter.ndim <= 1 and recipe.decayed != "all"]
    groups = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in ((decayed, recipe.weight_decay), (rest, 0.0))
        if parameters
    ]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.lr)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum)
