"""A small training loop, enough for a network to learn the digits in seconds."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from poolscope.training.crop import random_crop, random_flip

Row = dict[str, Any]
Images = Float[Tensor, "images channels height width"]
Labels = Int64[Tensor, "images"]
HeldOutImages = Float[Tensor, "held_out channels height width"]
HeldOutLabels = Int64[Tensor, "held_out"]

_MOMENTUM = 0.9
_WEIGHT_DECAY = 5e-4


def fit(
    model: nn.Module,
    images: Images,
    labels: Labels,
    *,
    epochs: int,
    batch_size: int = 64,
    lr: float = 0.05,
    seed: int = 0,
    crop_padding: int = 2,
    flip: bool = False,
    validation: tuple[HeldOutImages, HeldOutLabels] | None = None,
    precision: Literal["float32", "bf16-mixed"] = "float32",
    on_epoch: Callable[[Row], object] | None = None,
) -> list[Row]:
    """Train a classifier in place, on the device where it is; return one row an epoch.

    Stochastic gradient descent on the cross-entropy, momentum 0.9, weight decay 5e-4 on all parameters of more than
    one axis (so not on biases and batch norm); learning rate up linearly for a tenth of the steps, then down to zero
    as a half cosine; random crops, and flips if asked for. For one seed, machine and number of threads
    the result is the same, and torch's global generators are left as they were.

    Args:
        model: to be trained. Its training or evaluation mode is restored afterwards.
        images: the training images, normalised.
        labels: of the images, from 0.
        epochs: passes over the images.
        batch_size: images a step at most; the batches of an epoch differ by one image at most.
        lr: highest learning rate.
        seed: of order, crops, flips and dropout.
        crop_padding: largest move of an image by whole pixels, in each direction; 0 for none.
        flip: mirror every other image, at random, left to right.
        validation: images and labels on which each epoch's accuracy is reported.
        precision: of the forward and backward pass; weights are kept in float32.
        on_epoch: called with each row as it is ready.

    Returns:
        Rows with ``epoch`` (from 1), ``loss`` and ``accuracy`` (means over the epoch, in training mode, while the
        weights change) and, with ``validation``, ``validation_accuracy`` at the epoch's end.

    Raises:
        ValueError: no images, other numbers of labels than images, negative labels, or a number of epochs, batch
            size, learning rate or seed out of range.
        RuntimeError: the loss is no longer finite.
    """
    _check(images, labels, epochs, batch_size, lr, seed)
    device = next(model.parameters()).device
    # distinct streams: dropout draws from torch's own generator, seeded with `seed` itself
    order, crops, flips = (
        torch.Generator().manual_seed((seed + offset) % 2**32) for offset in (0x5F356495, 0x32C1AB37, 0x7A1E44D3)
    )
    batches = math.ceil(len(images) / batch_size)
    optimizer = torch.optim.SGD(_parameter_groups(model), lr=lr, momentum=_MOMENTUM)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _lr_factor(step, epochs * batches))
    rows: list[Row] = []
    with _training(model, device, seed):
        for epoch in range(1, epochs + 1):
            total_loss = torch.zeros((), dtype=torch.float64)
            correct = 0
            for chosen in torch.randperm(len(images), generator=order).tensor_split(batches):
                batch = random_crop(images[chosen].to(device), crop_padding, generator=crops)
                if flip:
                    batch = random_flip(batch, generator=flips)
                target = labels[chosen].to(device)
                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
                    logits = model(batch)
                logits = logits.float()
                loss = cross_entropy(logits, target)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                total_loss += len(chosen) * loss.detach().double().cpu()
                correct += int((logits.argmax(1) == target).sum())
            row: Row = {
                "epoch": epoch,
                "loss": total_loss.item() / len(images),
                "accuracy": correct / len(images),
            }
            if not math.isfinite(row["loss"]):
                raise RuntimeError(
                    f"the loss must stay finite; got {row['loss']} in epoch {epoch}, try an lr below {lr}"
                )
            if validation is not None:
                row["validation_accuracy"] = accuracy(model, *validation)
            rows.append(row)
            if on_epoch is not None:
                on_epoch(row)
    return rows


@torch.no_grad()
def accuracy(model: nn.Module, images: Images, labels: Labels, *, batch_size: int = 256) -> float:
    """Share of the images whose largest output is their label, in evaluation mode; the mode is restored.

    Raises:
        ValueError: no images, or other numbers of labels than images.
    """
    _check_pairs(images, labels)
    device = next(model.parameters()).device
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        correct = sum(
            int((model(batch.to(device)).argmax(1).cpu() == target.cpu()).sum())
            for batch, target in zip(images.split(batch_size), labels.split(batch_size), strict=True)
        )
    finally:
        _restore(modes)
    return correct / len(images)


def _parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": _WEIGHT_DECAY},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def _lr_factor(step: int, steps: int) -> float:
    warm_up = max(1, steps // 10)
    if step < warm_up:
        return (step + 1) / warm_up
    return (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))) / 2


@contextmanager
def _training(model: nn.Module, device: torch.device, seed: int) -> Iterator[None]:
    """Training mode and seeded generators inside; modes, generators and empty gradients as found outside."""
    modes = {module: module.training for module in model.modules()}
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        model.train()
        try:
            yield
        finally:
            model.zero_grad(set_to_none=True)
            _restore(modes)


def _restore(modes: dict[nn.Module, bool]) -> None:
    for module, mode in modes.items():
        module.training = mode


def _check(images: Tensor, labels: Tensor, epochs: int, batch_size: int, lr: float, seed: int) -> None:
    _check_pairs(images, labels)
    if labels.min() < 0:
        raise ValueError(f"labels must be class numbers from 0, to be learned from; got {int(labels.min())}")
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs and batch_size must be at least 1; got {epochs} and {batch_size}")
    if not 0 < lr < math.inf:
        raise ValueError(f"lr must be positive and finite; got {lr}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be in 0 .. 2**32 - 1, torch's CPU generator uses no more bits; got {seed}")


def _check_pairs(images: Tensor, labels: Tensor) -> None:
    if not len(images) or len(images) != len(labels):
        raise ValueError(f"there must be images, and a label for each; got {len(images)} and {len(labels)}")
